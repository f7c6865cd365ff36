package control

import "sync"

// commands hands the supervisor's commands to whoever takes them. At most one is held; a
// new one is merged into it.
type commands struct {
	ch chan Command

	mu  sync.Mutex
	seq uint64
}

func newCommands() *commands { return &commands{ch: make(chan Command, 1)} }

// heard takes an order that came as a message, or that was in force after a reconnect.
func (c *commands) heard(o order) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o.Seq <= c.seq {
		return
	}
	c.seq = o.Seq
	c.offer(o.Command)
}

// inForce takes the order that was in force when this client connected. A stop holds for
// newcomers too; a checkpoint was asked of those who were there.
func (c *commands) inForce(o order) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o.Seq <= c.seq {
		return
	}
	c.seq = o.Seq
	if o.Command.Stop {
		c.offer(o.Command)
	}
}

// offer merges cmd with what wasn't taken yet. Only the holder of mu sends, so that the
// channel has room after it was emptied.
func (c *commands) offer(cmd Command) {
	select {
	case open := <-c.ch:
		cmd.Stop = cmd.Stop || open.Stop
		cmd.Checkpoint = cmd.Checkpoint || open.Checkpoint
		if cmd.Why == "" {
			cmd.Why = open.Why
		}
	default:
	}
	c.ch <- cmd
}
