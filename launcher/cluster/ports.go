package cluster

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"

	"github.com/gorun-ml/gorun/launcher/membership"
)

// listen opens two neighbouring ports: orders are taken on the one after gossip's, so that
// one address is enough to know.
func (d *Daemon) listen() (err error) {
	for range listenTries {
		port := 0
		if d.o.Port > 0 {
			port = d.o.Port + 1
		}
		d.control, err = net.Listen("tcp", net.JoinHostPort(d.o.Bind, strconv.Itoa(port)))
		if err != nil {
			return d.unusable(port, err)
		}
		port = tcpPort(d.control.Addr())
		if err = freePort(d.o.Bind, port-1); err == nil {
			var meta []byte
			if meta, err = d.o.offer(port).encode(); err == nil {
				d.hosts, err = membership.Start(membership.Config{
					Group: groupName, Host: d.o.Name, Bind: d.o.Bind, Port: port - 1, Key: d.o.Key.derive("gorun cluster gossip key"),
					Meta: meta, Log: d.o.Gossip, Patience: patience,
				})
			}
		}
		if err == nil {
			return nil
		}
		_ = d.control.Close() // nobody has come
		if d.o.Port > 0 {
			return d.unusable(d.o.Port, err)
		}
	}
	return d.unusable(0, err)
}

func (d *Daemon) unusable(port int, err error) error {
	remedy := "does an agent run here already? choose another port with --port"
	if !errors.Is(err, syscall.EADDRINUSE) {
		remedy = "choose an address of this host with --bind"
	}
	return fmt.Errorf("%w on port %d of %s (%w): %s", ErrListen, port, d.o.Bind, err, remedy)
}

// freePort says whether gossip could listen there. Its library would try only one of the
// two, and not say which.
func freePort(bind string, port int) error {
	addr := net.JoinHostPort(bind, strconv.Itoa(port))
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	pc, err := net.ListenPacket("udp", addr)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	return errors.Join(ln.Close(), pc.Close())
}

func tcpPort(a net.Addr) int {
	t, _ := a.(*net.TCPAddr) // the address of a TCP listener
	return t.Port
}
