package control

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestLinkGivesUpAfterAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l link
		l.init()
		up := l.current()
		began := time.Now()
		l.down(nil)
		if up.Err() == nil || l.current().Err() == nil {
			t.Error("what was asked over the connection is still waiting")
		}
		l.down(nil) // a failed attempt: the time goes on from the first
		<-l.life.Done()
		if took := time.Since(began); took != goneAfter {
			t.Errorf("gave up after %v, want %v", took, goneAfter)
		}
		if err := l.err(); !errors.Is(err, ErrLost) {
			t.Errorf("it says %v, want %v", err, ErrLost)
		}
	})
}

func TestLinkComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l link
		l.init()
		for range 3 {
			l.down(nil)
			raised := l.raised()
			<-time.After(goneAfter - time.Second)
			l.up()
			<-raised
			if l.current().Err() != nil || l.life.Err() != nil {
				t.Fatal("the link is not up")
			}
		}
		<-time.After(2 * goneAfter)
		if l.life.Err() != nil {
			t.Errorf("a link that is up ended: %v", l.err())
		}
		l.close()
		if err := l.err(); !errors.Is(err, ErrClosed) {
			t.Errorf("it says %v, want %v", err, ErrClosed)
		}
	})
}

func TestPause(t *testing.T) {
	last := time.Duration(0)
	for try := range 100 {
		p := pause(try)
		if p < last || p <= 0 || p > retryMost {
			t.Errorf("pause %d is %v after %v", try, p, last)
		}
		last = p
	}
	if err := wait(context.Background(), time.Nanosecond); err != nil {
		t.Error(err)
	}
}
