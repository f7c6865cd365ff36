package bench

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
)

// columns are those of a result as CSV. algbw is bytes over the median, busbw is
// algbw·2(n−1)/n, which a perfect all-reduce keeps at the bandwidth of one link whatever n.
const columns = "peer,np,bytes,iters,min_us,median_us,p99_us,algbw_GBs,busbw_GBs"

// Result is one size, as -json writes it.
type Result struct {
	Name      string  `json:"name"`
	Ranks     int     `json:"np"`
	Hosts     int     `json:"hosts"`
	Bytes     int     `json:"bytes"`
	Transport string  `json:"transport"`
	Alloc     string  `json:"alloc"`
	Algorithm string  `json:"algorithm"`
	Iters     int     `json:"iters"`
	Min       float64 `json:"min_us"`
	Median    float64 `json:"median_us"`
	P99       float64 `json:"p99_us"`
	AlgBW     float64 `json:"algbw_GBs"`
	BusBW     float64 `json:"busbw_GBs"`
}

// result is a line of output: CSV or JSON.
func (b *benchmark) result(bytes int, t []float64) string {
	r := measured(b.Name, b.comm.Size(), bytes, t)
	if !b.JSON {
		return r.row()
	}
	r.Hosts, r.Transport, r.Alloc, r.Algorithm = len(b.comm.World().ByHost()), b.transport, b.Alloc, b.comm.Algorithm(bytes)
	return line(r)
}

func measured(name string, np, bytes int, t []float64) Result {
	slices.Sort(t)
	median := t[len(t)/2]
	bandwidth := float64(bytes) / median * 1e-9
	return Result{
		Name: name, Ranks: np, Bytes: bytes, Iters: len(t),
		Min: digits(t[0] * 1e6), Median: digits(median * 1e6), P99: digits(t[min(len(t)*99/100, len(t)-1)] * 1e6),
		AlgBW: digits(bandwidth), BusBW: digits(bandwidth * 2 * float64(np-1) / float64(np)),
	}
}

// digits keeps four decimals: a tenth of a nanosecond, where it is microseconds.
func digits(x float64) float64 { return math.Round(x*1e4) / 1e4 }

func (r Result) row() string {
	return fmt.Sprintf("%s,%d,%d,%d,%.2f,%.2f,%.2f,%.4f,%.4f", r.Name, r.Ranks, r.Bytes, r.Iters,
		r.Min, r.Median, r.P99, r.AlgBW, r.BusBW)
}

func line(x any) string {
	text, err := json.Marshal(x)
	if err != nil {
		panic("bench: " + err.Error()) // numbers and words only
	}
	return string(text)
}
