// Command asm writes the assembly of package kernels: every kernel is described once, over
// vectors of a width, and generated for AVX2 (32 bytes) and AVX-512 (64 bytes).
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/mmcloughlin/avo/pass"
	"github.com/mmcloughlin/avo/printer"
)

func main() {
	files, err := generate()
	if err == nil {
		for name, text := range files {
			if err = os.WriteFile(filepath.Join(".", name), text, 0o644); err != nil {
				break
			}
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "asm:", err)
		os.Exit(1)
	}
}

// generate returns the files of the package by name.
func generate() (map[string][]byte, error) {
	w := newWriter()
	for _, width := range []int{32, 64} {
		w.width = width
		w.folds()
		w.factors()
		w.conversions()
		w.magnitude()
		w.checksum()
	}
	file, err := w.Result()
	if err != nil {
		return nil, err
	}
	if err := pass.Compile.Execute(file); err != nil {
		return nil, err
	}
	config := printer.Config{Argv: []string{"go", "run", "./asm"}, Name: "asm", Pkg: "kernels"}
	code, err := printer.NewGoAsm(config).Print(file)
	if err != nil {
		return nil, err
	}
	stubs, err := printer.NewStubs(config).Print(file)
	if err != nil {
		return nil, err
	}
	return map[string][]byte{"simd_amd64.s": code, "simd_amd64.go": stubs}, nil
}
