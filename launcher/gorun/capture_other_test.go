//go:build !linux

package main

import "github.com/rogpeppe/go-internal/testscript"

func mayCapture() bool { return false }

func heard(ts *testscript.TestScript, _ bool, _ []string) { ts.Fatalf("heard: not on this system") }
