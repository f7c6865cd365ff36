package collectivetest

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
)

// member is the testing.TB of one rank: what it says names the rank, and what ends it ends
// the rank's goroutine.
type member struct {
	testing.TB
	rank, size int
	failed     atomic.Bool
}

func (m *member) prefix(text string) string {
	return fmt.Sprintf("rank %d of %d: %s", m.rank, m.size, text)
}

func (m *member) Error(args ...any) {
	m.TB.Helper()
	m.failed.Store(true)
	m.TB.Error(m.prefix(fmt.Sprint(args...)))
}

func (m *member) Errorf(format string, args ...any) {
	m.TB.Helper()
	m.failed.Store(true)
	m.TB.Error(m.prefix(fmt.Sprintf(format, args...)))
}

func (m *member) Fail() {
	m.failed.Store(true)
	m.TB.Fail()
}

func (m *member) FailNow() {
	m.Fail()
	runtime.Goexit()
}

func (m *member) Fatal(args ...any) {
	m.TB.Helper()
	m.Error(args...)
	runtime.Goexit()
}

func (m *member) Fatalf(format string, args ...any) {
	m.TB.Helper()
	m.Errorf(format, args...)
	runtime.Goexit()
}

func (m *member) Failed() bool { return m.failed.Load() }

func (m *member) Log(args ...any) {
	m.TB.Helper()
	m.TB.Log(m.prefix(fmt.Sprint(args...)))
}

func (m *member) Logf(format string, args ...any) {
	m.TB.Helper()
	m.TB.Log(m.prefix(fmt.Sprintf(format, args...)))
}
