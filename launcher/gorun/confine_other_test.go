//go:build !linux

package main

import "github.com/rogpeppe/go-internal/testscript"

func mayConfine() bool { return false }

func confine(ts *testscript.TestScript, _ bool, _ []string) { ts.Fatalf("confine: not on this system") }
