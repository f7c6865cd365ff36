package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/gorun-ml/gorun/launcher/membership"
)

// keepJoined joins the hosts that were named, and goes on trying those that aren't there:
// they may start later, or come back, or the network between here and there may. It fails
// where trying again is of no use.
func (d *Daemon) keepJoined(ctx context.Context) error {
	tick := time.NewTicker(rejoinEvery)
	defer tick.Stop()
	silent := map[string]string{} // address that was met, by name; "" if nobody was
	for _, addr := range d.o.Join {
		silent[addr] = ""
	}
	for first := true; ; first = false {
		var failed []error
		met := false
		for _, addr := range d.missing(silent) {
			at, err := d.meet(ctx, addr)
			switch {
			case ctx.Err() != nil:
				return nil
			case err == nil:
				met = true
				if _, named := silent[addr]; named {
					silent[addr] = at
				}
			case first && (errors.Is(err, ErrKey) || errors.Is(err, membership.ErrNameTaken)):
				return err
			default:
				failed = append(failed, err)
			}
		}
		if first {
			defer d.announce()()
		}
		if first && !met && len(failed) > 0 {
			d.o.Log(fmt.Sprintf("%v: trying again every %v", failed[0], rejoinEvery))
		}
		for _, err := range failed {
			if !first && errors.Is(err, ErrKey) && d.quiet.may("join", time.Now()) {
				d.o.Log(err.Error())
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// missing is whom to look for: all that were named and not met, and some of the lost.
func (d *Daemon) missing(named map[string]string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var addrs []string
	for addr, at := range named {
		if at == "" || at != d.Addr() && !d.view.at(at) {
			addrs = append(addrs, addr)
		}
	}
	var lost []string
	for addr := range d.view.lost {
		lost = append(lost, addr)
	}
	rand.Shuffle(len(lost), func(i, j int) { lost[i], lost[j] = lost[j], lost[i] })
	return append(addrs, lost[:min(len(lost), rejoinHosts)]...)
}

// meet joins the daemon at an address, having seen on its control port that it holds the
// same key: gossip itself can't tell a stranger from nobody.
func (d *Daemon) meet(ctx context.Context, addr string) (at string, err error) {
	c, err := dial(ctx, addr, d.creds)
	if err != nil {
		return "", err
	}
	host, _, _ := net.SplitHostPort(c.RemoteAddr().String()) // it is connected
	_ = c.Close()                                            // nothing was asked
	_, port, err := splitAddr(addr)
	if err != nil {
		return "", err
	}
	at = net.JoinHostPort(host, strconv.Itoa(port))
	if at == d.Addr() {
		return at, nil
	}
	if err := d.hosts.Join(ctx, at); err != nil {
		if errors.Is(err, membership.ErrNameTaken) {
			err = fmt.Errorf("%w, with --name", err)
		}
		return "", err
	}
	return at, nil
}

// splitAddr reads HOST[:PORT], the address that a daemon gossips at.
func splitAddr(addr string) (host string, port int, err error) {
	bad := usage("--join %q: want HOST or HOST:PORT", addr)
	if !strings.Contains(addr, ":") || net.ParseIP(addr) != nil { // an IPv6 address has colons too
		if host = strings.Trim(addr, "[]"); host == "" {
			return "", 0, bad
		}
		return host, DefaultPort, nil
	}
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, bad
	}
	port, err = strconv.Atoi(text)
	if err != nil || host == "" || port < 1 || port > 65534 {
		return "", 0, bad
	}
	return host, port, nil
}
