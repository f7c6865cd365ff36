package control

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"os"
)

// User is the name that the control plane knows the members of a job by.
const User = "gorun"

// BrokerPassword is the control plane's password for a job with the given secret.
func BrokerPassword(secret [SecretBytes]byte) string {
	return base64.RawURLEncoding.EncodeToString(derive(secret, "gorun broker password"))
}

// GossipKey is the key that the agents of a job encrypt their gossip with (AES-256).
func GossipKey(secret [SecretBytes]byte) []byte {
	return derive(secret, "gorun gossip key")
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
