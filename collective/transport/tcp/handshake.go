package tcp

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/gorun-ml/gorun/collective/transport"
)

// The handshake, all of fixed size, D dials and A accepts:
//
//	D → A  hello      what D wants: generation, ranks, lane; its version; a nonce
//	A → D  challenge  A's version and nonce
//	D → A  proof      HMAC over both under the job's key
//	A → D  verdict    taken or why not, and A's HMAC over everything before
//
// The key is made from the job's secret and name. D proves first, so that A does nothing
// for strangers, and every reason but a wrong proof is told with A's proof under it. The
// verdict may be a while in coming: A answers when it has joined D's generation.
const (
	helloBytes     = 96
	challengeBytes = 72
	proofBytes     = sha256.Size
	verdictBytes   = 16 + sha256.Size

	greeting     = "gorun/1\n"
	versionBytes = 31
	controlLane  = 0xffff
)

type hello struct {
	gen      uint64
	from, to uint32
	lane     uint16
	version  string
	nonce    [32]byte
}

func (h *hello) encode(b *[helloBytes]byte) {
	clear(b[:])
	copy(b[:8], greeting)
	binary.LittleEndian.PutUint64(b[8:], h.gen)
	binary.LittleEndian.PutUint32(b[16:], h.from)
	binary.LittleEndian.PutUint32(b[20:], h.to)
	binary.LittleEndian.PutUint16(b[24:], h.lane)
	putVersion(b[32:64], h.version)
	copy(b[64:], h.nonce[:])
}

func (h *hello) decode(b *[helloBytes]byte) error {
	switch {
	case b[0] == tlsHandshake && b[1] == tlsVersion:
		return errTheyEncrypt
	case string(b[:8]) != greeting:
		return errGreeting
	}
	h.gen = binary.LittleEndian.Uint64(b[8:])
	h.from = binary.LittleEndian.Uint32(b[16:])
	h.to = binary.LittleEndian.Uint32(b[20:])
	h.lane = binary.LittleEndian.Uint16(b[24:])
	copy(h.nonce[:], b[64:])
	var err error
	h.version, err = version(b[32:64])
	return err
}

type challenge struct {
	version string
	nonce   [32]byte
}

func (c *challenge) encode(b *[challengeBytes]byte) {
	clear(b[:])
	copy(b[:8], greeting)
	putVersion(b[8:40], c.version)
	copy(b[40:], c.nonce[:])
}

func (c *challenge) decode(b *[challengeBytes]byte) error {
	switch string(b[:8]) {
	case greeting:
	case encrypting:
		return errTheyEncrypt
	default:
		return errGreeting
	}
	copy(c.nonce[:], b[40:])
	var err error
	c.version, err = version(b[8:40])
	return err
}

func putVersion(b []byte, v string) {
	b[0] = byte(len(v))
	copy(b[1:], v)
}

func version(b []byte) (string, error) {
	n := int(b[0])
	if n > versionBytes {
		return "", fmt.Errorf("version of %d bytes, at most %d are allowed", n, versionBytes)
	}
	return string(b[1 : 1+n]), nil
}

var errGreeting = errors.New("not a rank of gorun, or one that greets differently")

// status is what a verdict says.
type status uint8

const (
	statusTaken status = 1 + iota
	statusAuth         // the proof is wrong
	statusVersion
	statusStale // the generation is over for A
	statusRank  // A is not the rank that D looks for, or has D already
	statusBusy  // come back later
)

func jobKey(secret [32]byte, job string) ([]byte, error) {
	return hkdf.Key(sha256.New, secret[:], nil, "gorun data connection of job "+job, sha256.Size)
}

// transcript is what the two sides have said, and the proofs over it.
type transcript struct {
	key       []byte
	hello     [helloBytes]byte
	challenge [challengeBytes]byte
}

func (t *transcript) dialerProof() []byte {
	return t.mac("dialer", nil)
}

func (t *transcript) acceptorProof(said []byte) []byte {
	return t.mac("acceptor", said)
}

func (t *transcript) mac(role string, said []byte) []byte {
	h := hmac.New(sha256.New, t.key)
	h.Write([]byte(role))
	h.Write(t.hello[:])
	h.Write(t.challenge[:])
	h.Write(said)
	return h.Sum(nil)
}

// refusal is a verdict other than taken.
type refusal struct {
	status status
	newest uint64 // A's generation
	theirs string // A's version
}

// greet is the dialer's part until its proof is sent. The verdict is read by verdict.
func greet(c net.Conn, key []byte, h hello) (*transcript, string, error) {
	rand.Read(h.nonce[:])
	t := &transcript{key: key}
	h.encode(&t.hello)
	if _, err := c.Write(t.hello[:]); err != nil {
		return nil, "", err
	}
	if _, err := io.ReadFull(c, t.challenge[:]); err != nil {
		return nil, "", err
	}
	var ch challenge
	err := ch.decode(&t.challenge)
	switch {
	case err == errTheyEncrypt:
		return nil, "", err
	case err != nil:
		return nil, "", fmt.Errorf("%w: %w", transport.ErrVersion, err)
	}
	_, err = c.Write(t.dialerProof())
	return t, ch.version, err
}

// verdict reads the acceptor's answer. A nil refusal and error means that it took D.
func (t *transcript) verdict(c net.Conn, theirs string) (*refusal, error) {
	var b [verdictBytes]byte
	if _, err := io.ReadFull(c, b[:]); err != nil {
		return nil, err
	}
	said := b[:16]
	r := &refusal{status: status(b[0]), newest: binary.LittleEndian.Uint64(b[8:]), theirs: theirs}
	if r.status == statusAuth {
		return nil, fmt.Errorf("%w: it refuses this rank's proof; are both of one job?", transport.ErrAuth)
	}
	if !hmac.Equal(b[16:], t.acceptorProof(said)) {
		return nil, fmt.Errorf("%w: its proof is wrong; is it of this job?", transport.ErrAuth)
	}
	if r.status == statusTaken {
		return nil, nil
	}
	return r, nil
}

// receive is the acceptor's part until the dialer has proved itself.
func receive(c net.Conn, key []byte, ours string) (*transcript, hello, error) {
	t := &transcript{key: key}
	var h hello
	if _, err := io.ReadFull(c, t.hello[:]); err != nil {
		return nil, h, err
	}
	if err := h.decode(&t.hello); err != nil {
		return nil, h, err
	}
	ch := challenge{version: ours}
	rand.Read(ch.nonce[:])
	ch.encode(&t.challenge)
	if _, err := c.Write(t.challenge[:]); err != nil {
		return nil, h, err
	}
	var proof [proofBytes]byte
	if _, err := io.ReadFull(c, proof[:]); err != nil {
		return nil, h, err
	}
	if !hmac.Equal(proof[:], t.dialerProof()) {
		c.Write(append([]byte{byte(statusAuth)}, make([]byte, verdictBytes-1)...))
		return nil, h, transport.ErrAuth
	}
	return t, h, nil
}

// answer sends the verdict.
func (t *transcript) answer(c net.Conn, s status, newest uint64) error {
	var b [verdictBytes]byte
	b[0] = byte(s)
	binary.LittleEndian.PutUint64(b[8:], newest)
	copy(b[16:], t.acceptorProof(b[:16]))
	_, err := c.Write(b[:])
	return err
}
