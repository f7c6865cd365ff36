package control

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"sync"
	"time"
)

// The control plane without a launcher: one JSON object a line, over TCP, between rank 0
// and each rank. Requests carry a number that their answer repeats.
const (
	opHello    = "hello"
	opRegister = "register"
	opWatch    = "watch"
	opFail     = "fail"
	opFinish   = "finish"
	opSaved    = "saved"
	opSay      = "say"
)

type bareRequest struct {
	ID   uint64          `json:"id"`
	Op   string          `json:"op"`
	Body json.RawMessage `json:"body,omitempty"`
}

type bareReply struct {
	ID uint64 `json:"id"`
	reply
	Welcome *welcome `json:"welcome,omitempty"`
}

// hello is the first request on a connection.
type hello struct {
	Rank int `json:"rank"`
	Size int `json:"size"`
}

// welcome answers it. Without a launcher nobody else could have brought the secret: who
// can reach rank 0's port can join the job.
type welcome struct {
	Job    string            `json:"job"`
	Secret [SecretBytes]byte `json:"secret"`
}

// lineConn reads and writes bounded lines. One goroutine reads; any may write.
type lineConn struct {
	net.Conn
	lines *bufio.Scanner

	mu sync.Mutex // held while writing
}

func newLineConn(c net.Conn) *lineConn {
	lines := bufio.NewScanner(c)
	lines.Buffer(make([]byte, 0, 4<<10), MaxMessage) // grows only as bytes arrive
	return &lineConn{Conn: c, lines: lines}
}

// read returns the next line, which is valid until the next call.
func (c *lineConn) read() ([]byte, error) {
	if c.lines.Scan() {
		return c.lines.Bytes(), nil
	}
	if err := c.lines.Err(); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("connection closed")
}

// write sends v as a line. A peer that doesn't read is given up after two seconds.
func (c *lineConn) write(v any) error {
	data, err := encode(v)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.SetWriteDeadline(time.Now().Add(answerWithin)); err != nil {
		return err
	}
	_, err = c.Write(append(data, '\n'))
	return err
}
