package hosts

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestExpandNodes(t *testing.T) {
	for list, want := range map[string]string{
		"n1":                    "n1",
		"n1,n2":                 "n1 n2",
		"n[1-3,7,09-11]":        "n1 n2 n3 n7 n09 n10 n11",
		"n1,n[2-3]":             "n1 n2 n3",
		"n[2-3],n1":             "n2 n3 n1",
		"a[1-2]b[3-4]":          "a1b3 a1b4 a2b3 a2b4",
		"r[1,3]c[0-1]s[7]":      "r1c0s7 r1c1s7 r3c0s7 r3c1s7",
		"rack[1-2]-[01-02].lan": "rack1-01.lan rack1-02.lan rack2-01.lan rack2-02.lan",
		"n[1]":                  "n1",
		"n[007]":                "n007",
		"n[0008-0011]":          "n0008 n0009 n0010 n0011",
		"n[9-11]":               "n9 n10 n11",
		"n[09-100,5]":           strings.Join(numbered("n", 9, 100), " ") + " n5",
		"[1-2]a":                "1a 2a",
		"n[1-2]-ib":             "n1-ib n2-ib",
		"a-b[1-2],c.d":          "a-b1 a-b2 c.d",
		"n1,n1":                 "n1 n1",
		"n[123456789012345678]": "n123456789012345678",
	} {
		got, err := ExpandNodes(list)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %v, %v; want %s", list, got, err, want)
		}
	}
}

func numbered(prefix string, from, to int) (names []string) {
	for i := from; i <= to; i++ {
		names = append(names, fmt.Sprintf("%s%02d", prefix, i))
	}
	return names
}

// TestExpandNodesLikeSlurm compares with what scontrol show hostnames (Slurm 22.05) made of
// random lists: a list a line, and its names.
func TestExpandNodesLikeSlurm(t *testing.T) {
	text, err := os.ReadFile("testdata/scontrol.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		list, want, _ := strings.Cut(strings.TrimSpace(line), " ")
		got, err := ExpandNodes(list)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %v, %v; want %s", list, got, err, want)
		}
	}
}

func TestExpandNodesRefuses(t *testing.T) {
	for list, want := range map[string]string{
		"":                                `node list "": no node in it`,
		",":                               "node list ,: a name is missing beside a comma",
		"n1,,n2":                          "node list n1,,n2: a name is missing beside a comma",
		"n[1-2],":                         "node list n[1-2],: a name is missing beside a comma",
		"n[1-3":                           `node list n[1-3: "[" without "]"`,
		"n[":                              `node list n[: "[" without "]"`,
		"n1]":                             `node list n1]: "]" without "["`,
		"n[1]]":                           `node list n[1]]: "]" without "["`,
		"n[1,[2]]":                        "node list n[1,[2]]: brackets inside brackets",
		"n[1-3,n2":                        `node list n[1-3,n2: "[" without "]"`,
		"n[]":                             `node list n[]: "" between brackets: want numbers, such as 1-3,7`,
		"n[1,]":                           `node list n[1,]: "" between brackets: want numbers, such as 1-3,7`,
		"n[-3]":                           "node list n[-3]: -3 between brackets: want numbers, such as 1-3,7",
		"n[1-]":                           "node list n[1-]: 1- between brackets: want numbers, such as 1-3,7",
		"n[1-2-3]":                        "node list n[1-2-3]: 1-2-3 between brackets: want numbers, such as 1-3,7",
		"n[a-c]":                          "node list n[a-c]: a-c between brackets: want numbers, such as 1-3,7",
		"n[1234567890123456789]":          "node list n[1234567890123456789]: 1234567890123456789 between brackets: want numbers, such as 1-3,7",
		"n[3-1]":                          "node list n[3-1]: the range 3-1 runs backwards",
		"n[1-65537]":                      "node list n[1-65537]: more than 65536 nodes",
		"n[0-999999999999999999]":         "node list n[0-999999999999999999]: more than 65536 nodes",
		"n[1-65536],m":                    "node list n[1-65536],m: more than 65536 nodes",
		"n[1-300][1-300]":                 "node list n[1-300][1-300]: more than 65536 nodes",
		"n" + strings.Repeat("[1-2]", 17): "node list n" + strings.Repeat("[1-2]", 15) + "[1-2…: more than 65536 nodes",
		strings.Repeat("[1]", 300):        "node list " + strings.Repeat("[1]", 26) + "[1…: a host name has at most 253 characters",
		"[1-2]":                           "node list [1-2]: is a number, want a host name or an IPv4 address",
		"-n[1-2]":                         `node list -n[1-2]: a host name does not begin with "-"`,
		"n1 n2":                           `node list n1 n2: " " does not belong in a host name`,
		"(null)":                          `node list (null): "(" does not belong in a host name`,
		"bg[000x133]":                     "node list bg[000x133]: 000x133 between brackets: want numbers, such as 1-3,7",
	} {
		got, err := ExpandNodes(list)
		if err == nil || err.Error() != want || got != nil {
			t.Errorf("%s: %d names, %v; want\n%s", show(list), len(got), err, want)
		}
	}
}

// A bound must not depend on how the names are written.
func TestExpandNodesIsQuick(t *testing.T) {
	var list strings.Builder
	list.WriteString("n[0")
	for i := range maxHosts - 1 {
		fmt.Fprintf(&list, ",%d", 2*(i+1))
	}
	list.WriteString("]")
	for _, list := range []string{list.String(), "n[1-65536]" + strings.Repeat("[1]", 50), "n" + strings.Repeat("[1-2]", 16)} {
		if names, err := ExpandNodes(list); err != nil || len(names) != maxHosts {
			t.Errorf("%s: %d names, %v; want %d", show(list), len(names), err, maxHosts)
		}
	}
}

func TestParseCounts(t *testing.T) {
	for text, want := range map[string][]int{
		"2":                   {2},
		"2(x2),1":             {2, 2, 1},
		"1,16(x3)":            {1, 16, 16, 16},
		"4(x1)":               {4},
		"2(x2":                nil,
		"2(x)":                nil,
		"2(x0)":               nil,
		"2x2":                 nil,
		"(x2)":                nil,
		"":                    nil,
		"2,":                  nil,
		"0":                   nil,
		"-1":                  nil,
		"2(x65537)":           nil,
		"2(x65536),2(x65536)": nil,
	} {
		got, err := parseCounts(text)
		if !slices.Equal(got, want) || (err == nil) != (want != nil) {
			t.Errorf("%s: %v, %v; want %v", text, got, err, want)
		}
	}
}

func FuzzExpandNodes(f *testing.F) {
	for _, s := range []string{"", "n1", "n[1-3,7,09-11]", "a[1-2]b[3-4],c", "n[1-", "n]", "n[[1]]", "n[3-1]", "n[0-99999999999]", "[1-2][1-2][1-2]x", "-n[1]", "n[0-1]\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, list string) {
		names, err := ExpandNodes(list)
		if err != nil {
			checkError(t, err)
			return
		}
		if len(names) == 0 || len(names) > maxHosts {
			t.Fatalf("%q: %d names", list, len(names))
		}
		for _, name := range names {
			if !safeName.MatchString(name) || len(name) > maxName || strings.Contains(name, "@") {
				t.Fatalf("%q: unsafe name %q", list, name)
			}
		}
		// Names that are written out stand for themselves.
		again, err := ExpandNodes(strings.Join(names, ","))
		if err != nil || !slices.Equal(again, names) {
			t.Errorf("%q: %q, and those %q, %v", list, names, again, err)
		}
	})
}
