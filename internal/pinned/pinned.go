// Package pinned is TLS between those who hold one key: each side shows a certificate of the
// key pair that comes from it and accepts no other, whatever name, date or authority it
// bears. Nothing depends on what a clock says.
package pinned

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"time"
)

// ErrOther means that the peer holds another key.
var ErrOther = errors.New("another key is held there")

// Ends are the two ends of a connection.
type Ends struct{ Server, Client *tls.Config }

// New makes the ends from a key's seed, of ed25519.SeedSize bytes, that is derived for this
// purpose alone. Both speak one protocol, named with its version; who speaks another is
// refused.
func New(seed []byte, protocol string) Ends {
	private := ed25519.NewKeyFromSeed(seed)
	public, _ := private.Public().(ed25519.PublicKey) // it is one
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0), // not looked at
	}
	der, err := x509.CreateCertificate(nil, template, template, public, private)
	if err != nil {
		panic("pinned: self-signed certificate: " + err.Error())
	}
	base := tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{protocol},
		Certificates: []tls.Certificate{{
			Certificate: [][]byte{der}, PrivateKey: private,
		}},
		// The peer has proved, by the handshake, that it holds the private key of its
		// certificate. Whether that is this one is the only question.
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) > 0 {
				if theirs, ok := s.PeerCertificates[0].PublicKey.(ed25519.PublicKey); ok && theirs.Equal(public) {
					return nil
				}
			}
			return ErrOther
		},
		SessionTicketsDisabled: true,
	}
	server, client := base.Clone(), base.Clone()
	server.ClientAuth = tls.RequireAnyClientCert
	client.InsecureSkipVerify = true // of names, dates and authorities: VerifyConnection decides
	return Ends{Server: server, Client: client}
}
