package cluster

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

const (
	idleBound   = time.Minute     // between two requests on a connection
	answerBound = 2 * time.Second // for the peer to take an answer
	acceptPause = 50 * time.Millisecond
)

// keepAlive makes a connection whose other end is gone without a word break in 3.5 s.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second, Count: 3}

// accept takes connections until the listener is closed, and returns when all have ended.
func (d *Daemon) accept(ctx context.Context) {
	var talking sync.WaitGroup
	defer talking.Wait()
	for {
		c, err := d.control.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // no descriptors, or one that has gone again
			pause := time.NewTimer(acceptPause)
			select {
			case <-pause.C:
			case <-ctx.Done():
			}
			pause.Stop()
			continue
		}
		d.gate.Enter(c)
		talking.Go(func() {
			defer func() { _ = c.Close() }() // all was said
			stop := context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(time.Unix(1, 0)) })
			defer stop()
			t, err := d.admit(ctx, c)
			if !d.gate.Prove(c, err == nil) {
				if from := hostOf(c); err != nil && ctx.Err() == nil && d.quiet.may(from, time.Now()) {
					d.o.Log(fmt.Sprintf("a stranger at %s was refused: %v", from, whyRefused(err)))
				}
				return
			}
			defer d.gate.Leave()
			d.talk(ctx, t)
		})
	}
}

// admit makes a stranger a member, or fails within the bound.
func (d *Daemon) admit(ctx context.Context, c net.Conn) (*tls.Conn, error) {
	if t, ok := c.(*net.TCPConn); ok {
		if err := t.SetKeepAliveConfig(keepAlive); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeBound)
	defer cancel()
	t := tls.Server(c, d.creds.server)
	if err := t.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	if p := t.ConnectionState().NegotiatedProtocol; p != protocol {
		return nil, fmt.Errorf("it speaks %q, not %s", p, protocol)
	}
	return t, nil
}

// whyRefused says in a few plain words why one was refused.
func whyRefused(err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, net.ErrClosed):
		return "it did not prove that it holds this cluster's key"
	case errors.Is(err, io.EOF):
		return "it went away"
	}
	return plain(cut(err.Error(), 200))
}

func hostOf(c net.Conn) string {
	host, _, err := net.SplitHostPort(c.RemoteAddr().String())
	if err != nil {
		return c.RemoteAddr().String()
	}
	return host
}

// talk answers a member's requests.
func (d *Daemon) talk(ctx context.Context, t *tls.Conn) {
	for {
		if t.SetReadDeadline(time.Now().Add(idleBound)) != nil || ctx.Err() != nil { // in this order: the end of ctx sets it too
			return
		}
		r, err := readFrame[request](t)
		if err != nil {
			if !errors.Is(err, io.EOF) && ctx.Err() == nil {
				d.say(t, refuse(usage("%v", err)))
			}
			return
		}
		switch {
		case r.Start != nil:
			d.run(ctx, t, *r.Start)
			return
		case r.Status:
			if !d.say(t, answer{Status: d.status()}) {
				return
			}
		case r.Drain != nil:
			d.setDrained(!r.Drain.Undo)
			if !d.say(t, answer{Status: d.status()}) {
				return
			}
		case r.Jobs:
			if !d.say(t, d.listJobs()) {
				return
			}
		default:
			d.say(t, refuse(usage("a request that this gorun doesn't know (version %s)", d.o.Version)))
			return
		}
	}
}

func (d *Daemon) say(t *tls.Conn, a answer) bool {
	return t.SetWriteDeadline(time.Now().Add(answerBound)) == nil && writeFrame(t, a) == nil
}

// run starts a job agent and stays with it to its end. It ends with the connection.
func (d *Daemon) run(ctx context.Context, t *tls.Conn, r startRequest) {
	if err := d.compare(r); err != nil {
		d.say(t, refuse(err))
		return
	}
	if bytes.ContainsRune(bytes.TrimSuffix(r.Letter, []byte("\n")), '\n') {
		d.say(t, refuse(usage("a letter of several lines: want one")))
		return
	}
	if err := d.take(r.Slots, r.Lasting); err != nil {
		d.say(t, refuse(err))
		return
	}
	c, err := startChild(d.o.Child, r.Letter, d.o.ReadyBound)
	if err != nil {
		d.give(r.Slots)
		d.say(t, refuse(fmt.Errorf("%w on host %s could not be started: %w", ErrChild, d.o.Name, err)))
		return
	}
	c.lasting = r.Lasting
	d.mu.Lock()
	d.children[c] = true
	d.mu.Unlock()
	var listening sync.WaitGroup
	given := make(chan struct{})
	listening.Go(func() {
		<-c.done // however long the kernel holds it
		d.mu.Lock()
		delete(d.children, c)
		d.mu.Unlock()
		d.give(r.Slots)
		close(given)
	})
	_ = t.SetReadDeadline(time.Time{}) // who has gone without a word is noticed by keepAlive
	left := make(chan struct{})
	listening.Go(func() {
		defer close(left)
		for { // until it says end, or is gone, or says anything else
			q, err := readFrame[request](t)
			switch {
			case err == nil && q.Leave && r.Lasting:
				d.say(t, answer{Started: true})
				select {
				case <-c.done:
				case <-ctx.Done(): // which ends it
				}
				return
			case err != nil || q.End:
				return
			}
		}
	})
	d.attend(ctx, t, c, given, left)
	_ = t.SetReadDeadline(time.Unix(1, 0)) // whoever listens, stops
	<-left
	select {
	case <-c.done:
		listening.Wait()
	default: // the kernel holds it: drain counts it
	}
}

// attend waits until the job agent is ready, and then until it ends or is to end.
func (d *Daemon) attend(ctx context.Context, t *tls.Conn, c *child, given, left <-chan struct{}) {
	bound := time.NewTimer(d.o.ReadyBound)
	defer bound.Stop()
	select {
	case <-c.ready:
		if d.say(t, answer{Started: true}) {
			select {
			case <-c.done:
			case <-left:
			case <-ctx.Done():
			}
		}
	case <-c.done:
		d.say(t, refuse(fmt.Errorf("%w on host %s ended with %s before it was ready%s", ErrChild, d.o.Name, orZero(c.ends.How), lastWords(c.ends.Stderr))))
		return
	case <-bound.C:
		c.kill()
		if c.end(d.o.Grace, d.kill) {
			d.say(t, refuse(fmt.Errorf("%w on host %s was not ready after %v and was killed%s", ErrChild, d.o.Name, d.o.ReadyBound, lastWords(c.lastWords()))))
		}
		return
	case <-left:
	case <-ctx.Done():
	}
	if !c.end(d.o.Grace, d.kill) {
		d.o.Log(fmt.Sprintf("job agent (pid %d) can't be killed, waiting in the kernel", c.cmd.Process.Pid))
		return
	}
	<-given // whoever is told that it has ended counts on its slots
	d.say(t, answer{Ended: &c.ends})
}

func orZero(how string) string {
	if how == "" {
		return "status 0"
	}
	return how
}

// compare refuses a letter of another gorun: what the two say to each other may differ.
func (d *Daemon) compare(r startRequest) error {
	mine, err := d.gorun.digest()
	if err != nil {
		return fmt.Errorf("%w on host %s: %w", ErrChild, d.o.Name, err)
	}
	if r.Digest == mine {
		return nil
	}
	return fmt.Errorf("%w: host %s has %s (sha256 %s…), this is %s (sha256 %s…): install the same gorun on both and start gorun agent anew",
		ErrVersion, d.o.Name, strings.TrimSpace(d.o.Version), short(mine), plain(cut(r.Version, maxName)), plain(short(r.Digest)))
}
