package main

import (
	"slices"
	"strings"
	"testing"
)

func TestNormalise(t *testing.T) {
	for line, want := range map[string]string{
		"-np 4 train.go -np 5":             "--np 4 train.go -np 5",
		"-np=4 train.go":                   "--np=4 train.go",
		"-np4 train.go":                    "--np=4 train.go",
		"--gang -np 4 x":                   "--gang --np 4 x",
		"--output -np -np 4 x":             "--output -np --np 4 x",
		"-q -np 4 x":                       "-q --np 4 x",
		"-n 4 x -np 3":                     "-n 4 x -np 3",
		"--output=logs -np 4 x":            "--output=logs --np 4 x",
		"-- -np 4":                         "-- -np 4",
		"topology -np 12 --hosts 3":        "topology --np 12 --hosts 3",
		"python3 -np 4":                    "python3 -np 4",
		"--nosuch -np 4 x":                 "--nosuch --np 4 x",
		"-npx 4":                           "-npx 4",
		"-np":                              "--np",
		"":                                 "",
		"--checkpoint-every 5 -np 2 p -np": "--checkpoint-every 5 --np 2 p -np",
	} {
		got := normalise((&command{}).root(), strings.Fields(line))
		if !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

func FuzzNormalise(f *testing.F) {
	f.Add("-np 4 train.go -np 5")
	f.Add("-q -- x")
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Fields(line)
		got := normalise((&command{}).root(), args)
		if len(got) != len(args) {
			t.Errorf("%q became %q", args, got)
		}
	})
}

func TestParseBytes(t *testing.T) {
	for text, want := range map[string]int64{
		"4096": 4096, "64KiB": 64 << 10, "16 MiB": 16 << 20, "1024GiB": 1 << 40,
		"1025GiB": 0, "0": 0, "-1": 0, "": 0, "1.5MiB": 0, "9223372036854775807GiB": 0, "KiB": 0,
	} {
		got, err := parseBytes(text)
		if got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
}
