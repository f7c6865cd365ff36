package plot

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// ReadLimits reads what a machine can do at best, lines of name,value,unit, and makes of it
// the least times of an all-reduce over that many ranks for the sizes:
//
//	shm all-reduce np=2 1024 KiB shared buffers,49,us     as it is, likewise private buffers
//	loopback TCP both ways at once each way,2.1,GB/s      each rank sends 2(n−1)/n of the data, from 16 MiB on
//
// Two processes were at work for the second; more ranks share what those had.
func ReadLimits(in io.Reader, ranks int, sizes []int64) ([]Limit, error) {
	shared := Limit{"limit, shared buffers", map[int64]float64{}}
	private := Limit{"limit, copies", map[int64]float64{}}
	tcp := Limit{"limit, loopback TCP", map[int64]float64{}}
	r := csv.NewReader(in)
	r.FieldsPerRecord = -1
	lines, err := r.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("plot: limits: %w", err)
	}
	rate := 0.0
	for i, fields := range lines {
		if len(fields) < 3 || fields[2] == "unit" {
			continue
		}
		name := strings.TrimSpace(fields[0])
		value, err := strconv.ParseFloat(strings.TrimSpace(fields[1]), 64)
		if err != nil || !(value > 0) {
			return nil, fmt.Errorf("plot: limits: line %d: %s: value %q: want a number above 0", i+1, name, fields[1])
		}
		var kib int64
		var np int
		var kind string
		if n, _ := fmt.Sscanf(name, "shm all-reduce np=%d %d KiB %s", &np, &kib, &kind); n == 3 {
			switch {
			case np != ranks:
			case kind == "shared":
				shared.Times[kib<<10] = value
			case kind == "private":
				private.Times[kib<<10] = value
			}
		}
		if strings.HasPrefix(name, "loopback TCP") && strings.Contains(name, "both ways") {
			rate = max(rate, value)
		}
	}
	if rate > 0 && ranks > 1 {
		for _, bytes := range sizes {
			if bytes >= 16<<20 { // what is shorter stays in the caches
				tcp.Times[bytes] = float64(ranks-1) * float64(bytes) / rate * 1e-3
			}
		}
	}
	var limits []Limit
	for _, l := range []Limit{shared, private, tcp} {
		if len(l.Times) > 0 {
			limits = append(limits, l)
		}
	}
	if len(limits) == 0 {
		return nil, fmt.Errorf("plot: limits: there is nothing about all-reduces of %d ranks or loopback TCP", ranks)
	}
	return limits, nil
}
