package tcp

import (
	"io"
	"net"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/gorun-ml/gorun/collective/transport"
)

// flows says that lanes can be used as transport.Flow.
const flows = true

// descriptor is a socket that is read and written without the runtime's poller, whose
// threads would be woken by all that arrives. One goroutine writes while another reads.
type descriptor struct {
	fd       int
	low      int           // bytes that wake who sleeps until there are some; 0 for as at first, 1
	out, in  [3]unix.Iovec // parts of what is written and read
	outgoing unix.Msghdr
}

// describe duplicates c's descriptor.
func describe(c *net.TCPConn) (*descriptor, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	d := new(descriptor)
	var no error
	err = raw.Control(func(fd uintptr) {
		d.fd, no = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err == nil {
		err = no
	}
	if err != nil {
		return nil, err
	}
	d.outgoing.Iov = &d.out[0]
	return d, nil
}

// The calls below take microseconds, and are made without a word to the scheduler.

// write writes what goes at once of the parts, of which b and c may be empty. 0 is nothing.
func (d *descriptor) write(a, b, c []byte) (int, error) {
	var n uintptr
	var errno syscall.Errno
	if len(b) == 0 && len(c) == 0 {
		if len(a) == 0 {
			return 0, nil
		}
		n, _, errno = unix.RawSyscall6(unix.SYS_SENDTO, uintptr(d.fd), uintptr(unsafe.Pointer(&a[0])), uintptr(len(a)),
			unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	} else {
		d.outgoing.SetIovlen(fillVector(&d.out, a, b, c))
		n, _, errno = unix.RawSyscall(unix.SYS_SENDMSG, uintptr(d.fd), uintptr(unsafe.Pointer(&d.outgoing)),
			unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		d.out = [3]unix.Iovec{}
	}
	return moved(n, errno)
}

// read reads what is there into a and then b, which may be empty. 0 is nothing.
func (d *descriptor) read(a, b []byte) (int, error) {
	var n uintptr
	var errno syscall.Errno
	switch {
	case len(a) == 0 && len(b) == 0:
		return 0, nil
	case len(a) == 0:
		a = b
		fallthrough
	case len(b) == 0:
		n, _, errno = unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(d.fd), uintptr(unsafe.Pointer(&a[0])), uintptr(len(a)),
			unix.MSG_DONTWAIT, 0, 0)
	default:
		k := fillVector(&d.in, a, b, nil)
		n, _, errno = unix.RawSyscall(unix.SYS_READV, uintptr(d.fd), uintptr(unsafe.Pointer(&d.in[0])), uintptr(k))
		d.in = [3]unix.Iovec{}
	}
	if n == 0 && errno == 0 {
		return 0, io.EOF
	}
	return moved(n, errno)
}

// fillVector puts the parts that aren't empty into v.
func fillVector(v *[3]unix.Iovec, parts ...[]byte) (n int) {
	for _, p := range parts {
		if len(p) > 0 {
			v[n].Base = &p[0]
			v[n].SetLen(len(p))
			n++
		}
	}
	return n
}

func moved(n uintptr, errno syscall.Errno) (int, error) {
	switch errno {
	case 0:
		return int(n), nil
	case unix.EAGAIN, unix.EINTR:
		return 0, nil
	default:
		return 0, errno
	}
}

// polled is lanes that somebody sleeps on, held open meanwhile.
type polled struct {
	lanes [2 * transport.MaxFlows]*lane
	fds   [2*transport.MaxFlows + 1]unix.PollFd
	n     int
}

// add adds one way of a lane.
func (p *polled) add(l *lane, out bool) error {
	at := slices.Index(p.lanes[:p.n], l)
	if at < 0 {
		if err := l.hold(); err != nil {
			return err
		}
		at = p.n
		p.lanes[at], p.fds[at] = l, unix.PollFd{Fd: int32(l.fd.fd)}
		p.n++
	}
	events := &p.fds[at].Events
	if out {
		*events |= unix.POLLOUT | unix.POLLRDHUP
		return nil
	}
	*events |= unix.POLLIN
	low := 1
	if l.far() && *events&unix.POLLOUT == 0 {
		low = batchBytes
	}
	return l.fd.wakeAt(low)
}

// sleep returns when a lane may move, or is interrupted, or when the bell rings.
func (p *polled) sleep(bell Bell) error {
	n := p.n
	if bell.Descriptor != 0 {
		p.fds[n] = unix.PollFd{Fd: int32(bell.Descriptor), Events: unix.POLLIN}
		n++
	}
	var limit *unix.Timespec
	if bell.Limit > 0 {
		t := unix.NsecToTimespec(bell.Limit.Nanoseconds())
		limit = &t
	}
	if _, err := unix.Ppoll(p.fds[:n], limit, nil); err != nil && err != unix.EINTR {
		return err
	}
	return nil
}

// wakeAt has sleep wait for so many bytes, or for the end. The kernel gives them room.
func (d *descriptor) wakeAt(bytes int) error {
	if bytes == max(d.low, 1) {
		return nil
	}
	d.low = bytes
	return unix.SetsockoptInt(d.fd, unix.SOL_SOCKET, unix.SO_RCVLOWAT, bytes)
}

// interrupt wakes who sleeps on the socket. Nothing is told to the peer.
func (d *descriptor) interrupt() { unix.Shutdown(d.fd, unix.SHUT_RD) }

func (d *descriptor) close() { unix.Close(d.fd) }

// yield lets another process have the core.
func yield() { unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }
