package control

import (
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/gorun-ml/gorun/internal/pinned"
)

// brokerKey is the key that all members of a job prove to its broker: an NKey, so that
// nothing that opens the control plane is ever sent.
func brokerKey(secret [SecretBytes]byte) nkeys.KeyPair {
	pair, err := nkeys.FromRawSeed(nkeys.PrefixByteUser, derive(secret, "gorun broker key"))
	if err != nil {
		panic("control: NKey of 32 bytes: " + err.Error())
	}
	return pair
}

// BrokerUser is the public half of the key that opens a job's control plane: all that the
// broker knows of it.
func BrokerUser(secret [SecretBytes]byte) string {
	user, err := brokerKey(secret).PublicKey()
	if err != nil {
		panic("control: public half of an NKey: " + err.Error())
	}
	return user
}

// BrokerSeed is the private half, for Login in another process of the same user.
func BrokerSeed(secret [SecretBytes]byte) string {
	seed, err := brokerKey(secret).Seed()
	if err != nil {
		panic("control: private half of an NKey: " + err.Error())
	}
	return string(seed)
}

// Login connects to a broker by TLS, whose key both sides have from the seed, and then proves
// the seed by signing what the broker has drawn.
func Login(seed string) nats.Option {
	return func(o *nats.Options) error {
		pair, err := nkeys.FromSeed([]byte(seed))
		if err != nil {
			return fmt.Errorf("control: seed of the broker's key: %w", err)
		}
		user, err := pair.PublicKey()
		if err != nil {
			return fmt.Errorf("control: seed of the broker's key: %w", err)
		}
		ends, err := brokerEnds(seed)
		if err != nil {
			return err
		}
		// Before the broker says anything: it would be in plain.
		return errors.Join(nats.Secure(ends.Client)(o), nats.TLSHandshakeFirst()(o), nats.Nkey(user, pair.Sign)(o))
	}
}

// BrokerTLS is the broker's end of TLS.
func BrokerTLS(secret [SecretBytes]byte) *tls.Config {
	ends, err := brokerEnds(BrokerSeed(secret))
	if err != nil {
		panic("control: seed of an NKey: " + err.Error())
	}
	return ends.Server
}

// brokerEnds come from the seed, so that who can log in needs nothing else.
func brokerEnds(seed string) (pinned.Ends, error) {
	_, raw, err := nkeys.DecodeSeed([]byte(seed))
	if err != nil {
		return pinned.Ends{}, fmt.Errorf("control: seed of the broker's key: %w", err)
	}
	return pinned.New(derive([SecretBytes]byte(raw), "gorun broker TLS"), tlsProtocol), nil
}

// tlsProtocol is what both ends of a connection to a broker say that they speak.
const tlsProtocol = "gorun-control-1"

// GossipKey is the key that the agents of a job encrypt their gossip with (AES-256).
func GossipKey(secret [SecretBytes]byte) []byte {
	return derive(secret, "gorun gossip key")
}

// BrokersKey is the key by which brokers of a job that has several know each other.
func BrokersKey(secret [SecretBytes]byte) []byte {
	return derive(secret, "gorun brokers key")
}

// ReplicaKey is the key by which the replicas of a job's state know each other.
func ReplicaKey(secret [SecretBytes]byte) []byte {
	return derive(secret, "gorun replica key")
}

// derive makes a key for one purpose. The secret is uniformly random, so it needs no salt,
// and no key tells anything about another (RFC 5869).
func derive(secret [SecretBytes]byte, purpose string) []byte {
	key, err := hkdf.Key(sha256.New, secret[:], nil, purpose, 32)
	if err != nil {
		panic("control: HKDF of 32 bytes: " + err.Error())
	}
	return key
}

// ReadSecret reads the job's secret from an inherited descriptor and closes it, so that it
// can be read once and by this process only.
func ReadSecret(fd int) (secret [SecretBytes]byte, err error) {
	const remedy = "the launcher hands it over; start the program with gorun"
	if fd < 3 {
		return secret, fmt.Errorf("control: GORUN_SECRET_FD=%d is not an inherited descriptor: %s", fd, remedy)
	}
	f := os.NewFile(uintptr(fd), "secret")
	if f == nil {
		return secret, fmt.Errorf("control: GORUN_SECRET_FD=%d is not a descriptor: %s", fd, remedy)
	}
	defer func() { _ = f.Close() }() // it was only read from
	all, err := io.ReadAll(io.LimitReader(f, SecretBytes+1))
	if err != nil {
		return secret, fmt.Errorf("control: secret on descriptor %d: %w: %s", fd, err, remedy)
	}
	if len(all) != SecretBytes {
		return secret, fmt.Errorf("control: secret on descriptor %d has %s bytes, want %d: %s", fd, count(len(all)), SecretBytes, remedy)
	}
	copy(secret[:], all)
	return secret, nil
}

func count(n int) string {
	if n > SecretBytes {
		return fmt.Sprintf("over %d", SecretBytes)
	}
	return fmt.Sprint(n)
}
