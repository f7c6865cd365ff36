// Package arrows holds the tests that keep this module's layout: which folder may import
// which, and the few habits that a compiler does not check.
package arrows
