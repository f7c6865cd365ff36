package rendezvous

import (
	"fmt"
	"strings"
)

// mostNamed is how many members a sentence names; of the others it gives the number.
const mostNamed = 3

// why tells the change as one sentence.
func (c *change) why() string {
	switch lost := len(c.died) + len(c.left) + len(c.released); {
	case len(c.stay) == 0 && c.from.ID == 0:
		return worldText(c.join)
	case len(c.stay) == 0:
		return fmt.Sprintf("all %d ranks were lost; started anew with %s", lost, worldText(c.join))
	case lost == 0 && len(c.join) == 0:
		return c.lossText(c.stranded) + " lost connections to ranks that live; connecting anew"
	case lost == 0:
		return "joined by " + c.joinText(true)
	}
	parts := c.losses()
	switch {
	case len(c.join) == 0:
		parts = append(parts, fmt.Sprintf("going on with %s", ranks(len(c.stay))))
	default:
		parts = append(parts, "replaced by "+c.joinText(false))
	}
	return strings.Join(parts, "; ")
}

// waiting tells what keeps the next generation from being made.
func (c *change) waiting(total int) string {
	wait := fmt.Sprintf("%d of %s ready: waiting for %d more", total, ranks(c.policy.Min), c.policy.Min-total)
	return strings.Join(append(c.losses(), wait), "; ")
}

func (c *change) losses() []string {
	var parts []string
	if len(c.died) > 0 {
		parts = append(parts, c.lossText(c.died)+" died")
	}
	if len(c.left) > 0 {
		parts = append(parts, c.lossText(c.left)+" left")
	}
	if len(c.released) > 0 {
		parts = append(parts, c.lossText(c.released)+fmt.Sprintf(" released, the limit is %d", c.policy.Max))
	}
	return parts
}

// lossText names members by their rank before the change.
func (c *change) lossText(lost []int) string {
	names := make([]string, 0, mostNamed)
	for _, r := range lost[:min(len(lost), mostNamed)] {
		m := c.from.Members[r]
		names = append(names, fmt.Sprintf("%d (pid %d on %s)", r, m.PID, m.Host))
	}
	if len(lost) == 1 {
		return "rank " + names[0]
	}
	return "ranks " + list(names, len(lost))
}

// joinText names members by their rank after the change. The host is left out where it is
// the one where all the lost ones were.
func (c *change) joinText(hosts bool) string {
	for _, lost := range [][]int{c.died, c.left, c.released} {
		for _, r := range lost {
			for _, m := range c.join {
				hosts = hosts || m.Host != c.from.Members[r].Host
			}
		}
	}
	names := make([]string, 0, mostNamed)
	for i, m := range c.join[:min(len(c.join), mostNamed)] {
		host := ""
		if hosts {
			host = " on " + m.Host
		}
		names = append(names, fmt.Sprintf("pid %d%s as rank %d", m.PID, host, len(c.stay)+i))
	}
	return list(names, len(c.join))
}

// list joins names; total is how many there would be.
func list(names []string, total int) string {
	switch last := len(names) - 1; {
	case total == len(names)+1:
		return strings.Join(names, ", ") + " and 1 other"
	case total > len(names):
		return fmt.Sprintf("%s and %d others", strings.Join(names, ", "), total-len(names))
	case last == 0:
		return names[0]
	default:
		return strings.Join(names[:last], ", ") + " and " + names[last]
	}
}

// worldText tells the size of a world.
func worldText(members []Member) string {
	hosts := make(map[string]bool)
	for _, m := range members {
		hosts[m.Host] = true
	}
	if len(hosts) == 1 {
		return ranks(len(members)) + " on 1 host"
	}
	return fmt.Sprintf("%s on %d hosts", ranks(len(members)), len(hosts))
}

func ranks(n int) string {
	if n == 1 {
		return "1 rank"
	}
	return fmt.Sprintf("%d ranks", n)
}
