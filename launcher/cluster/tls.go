package cluster

import (
	"crypto/tls"
	"errors"
	"fmt"

	"github.com/gorun-ml/gorun/internal/pinned"
)

// protocol is the version of what is said on a control connection.
const protocol = "gorun-cluster-1"

// credentials are the two ends of a control connection: who holds the cluster's key is a
// member, whatever its name.
type credentials struct{ server, client *tls.Config }

func newCredentials(k Key) credentials {
	ends := pinned.New(k.derive("gorun cluster control key"), protocol)
	for _, c := range []*tls.Config{ends.Server, ends.Client} {
		verify := c.VerifyConnection
		c.VerifyConnection = func(s tls.ConnectionState) error {
			err := verify(s)
			if errors.Is(err, pinned.ErrOther) {
				return fmt.Errorf("%w: another one is held there", ErrKey)
			}
			return err
		}
	}
	return credentials{server: ends.Server, client: ends.Client}
}
