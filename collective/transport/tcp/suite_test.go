package tcp

import (
	"testing"
	"time"

	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/collective/transport/transporttest"
)

func testConfig() Config {
	return Config{Job: "7f3a", Secret: [32]byte{1, 2, 3}, Version: "v1"}
}

func listen(t *testing.T, c Config) *Fabric {
	t.Helper()
	f, err := Listen(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestSuite(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"summed":         func(c *Config) { c.Checksum = Always },
		"plain":          func(c *Config) { c.Checksum = Never },
		"spinning":       func(c *Config) { c.Spin = 20 * time.Microsecond },
		"encrypted":      func(c *Config) { c.Encrypt = true },
		"encrypted, far": func(c *Config) { c.Encrypt, c.Checksum, c.Spin = true, Always, 20*time.Microsecond },
	} {
		t.Run(name, func(t *testing.T) {
			transporttest.Run(t, func(t *testing.T, n int) []transport.Fabric {
				var fabrics []transport.Fabric
				for range n {
					c := testConfig()
					change(&c)
					fabrics = append(fabrics, listen(t, c))
				}
				return fabrics
			})
		})
	}
}
