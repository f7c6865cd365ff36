//go:build !openblas

package main

var linked []contender
