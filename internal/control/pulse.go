package control

import "time"

// Doing is what the goroutine that trains is at, as far as others have to wait for it.
type Doing string

// What a rank may be doing.
const (
	Works Doing = "works" // its own part, or what the program does between steps
	Waits Doing = "waits" // for other ranks
	Saves Doing = "saves" // it writes a file
)

// Pulse is a rank's sign of life, which it gives every so often whatever it is doing.
type Pulse struct {
	Member     string  `json:"member"`
	Generation uint64  `json:"generation"`
	Doing      Doing   `json:"doing"`
	ForMS      float64 `json:"for_ms"` // since when it has been doing just that
}

// For is since when the rank has been doing what it does.
func (p Pulse) For() time.Duration { return time.Duration(p.ForMS * float64(time.Millisecond)) }

// PulseEvery is how often a rank gives a sign of life where one that gives none for stall is
// taken for hung.
func PulseEvery(stall time.Duration) time.Duration {
	return min(max(stall/10, 20*time.Millisecond), time.Second)
}

// Pulse gives a sign of life. It is lost while the control plane is away.
func (c *Client) Pulse(p Pulse) error {
	data, err := encode(p)
	if err != nil {
		return err
	}
	return c.nc.Publish(c.prefix+subjectPulse, data)
}
