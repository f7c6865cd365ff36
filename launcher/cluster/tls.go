package cluster

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"time"
)

// protocol is the version of what is said on a control connection.
const protocol = "gorun-cluster-1"

// credentials are the two ends of a control connection. Both sides show a certificate of
// the key pair that comes from the cluster's key, and accept no other: who holds the key is
// a member, whatever its name. Nothing depends on what a clock says.
type credentials struct{ server, client *tls.Config }

func newCredentials(k Key) credentials {
	private := ed25519.NewKeyFromSeed(k.derive("gorun cluster control key"))
	public, _ := private.Public().(ed25519.PublicKey) // it is one
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0), // not looked at
	}
	der, err := x509.CreateCertificate(nil, template, template, public, private)
	if err != nil {
		panic("cluster: self-signed certificate: " + err.Error())
	}
	base := tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{protocol},
		Certificates: []tls.Certificate{{
			Certificate: [][]byte{der}, PrivateKey: private,
		}},
		// The peer has proved, by the handshake, that it holds the private key of its
		// certificate. Whether that is the cluster's is the only question.
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) > 0 {
				if theirs, ok := s.PeerCertificates[0].PublicKey.(ed25519.PublicKey); ok && theirs.Equal(public) {
					return nil
				}
			}
			return fmt.Errorf("%w: another one is held there", ErrKey)
		},
		SessionTicketsDisabled: true,
	}
	server, client := base.Clone(), base.Clone()
	server.ClientAuth = tls.RequireAnyClientCert
	client.InsecureSkipVerify = true // of names, dates and authorities: VerifyConnection decides
	return credentials{server: server, client: client}
}
