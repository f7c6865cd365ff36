package plot

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; run with -update and look at the difference. Got:\n%s", path, got)
	}
}

func read(t *testing.T) (*Measured, []Limit) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "raw.csv"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := ReadMeasured(bytes.NewReader(raw), 2)
	if err != nil {
		t.Fatal(err)
	}
	best, err := os.Open(filepath.Join("testdata", "limits.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer best.Close()
	limits, err := ReadLimits(best, m.Ranks, m.Sizes)
	if err != nil {
		t.Fatal(err)
	}
	return m, limits
}

func TestMeasuredIsTheMedianOfRepeats(t *testing.T) {
	m, limits := read(t)
	if us, ok := m.Time("openmpi-tcp", 4); !ok || us != 16.41 {
		t.Errorf("openmpi-tcp, 4 B: %v, want the median of 22.89, 16.41 and 15.20", us)
	}
	if len(limits) != 3 || limits[0].Times[1<<20] != 49 || math.Abs(limits[2].Times[64<<20]-34065) > 1 {
		t.Errorf("limits: %v", limits)
	}
}

func TestDrawingsAndTablesLookAsTheyDid(t *testing.T) {
	m, limits := read(t)
	var svg, table bytes.Buffer
	if err := errors.Join(DrawSVG(&svg, AllReduce(m, "gorun", limits)), Table(&table, m, "gorun", limits)); err != nil {
		t.Fatal(err)
	}
	golden(t, "raw.svg", svg.Bytes())
	golden(t, "raw.md", table.Bytes())
	wellFormed(t, &svg)
}

func wellFormed(t *testing.T, svg io.Reader) {
	t.Helper()
	for d := xml.NewDecoder(svg); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("the SVG is not XML: %v", err)
		}
	}
}

func TestNamesOfLinesKeepApart(t *testing.T) {
	c := Chart{X: Axis{Name: "x"}, Y: Axis{Name: "y"}}
	for range 20 {
		c.Lines = append(c.Lines, Line{Name: "<a & b>", Points: []Point{{0, 1}, {1, 1}}})
	}
	_, y, err := c.frame()
	if err != nil {
		t.Fatal(err)
	}
	at := c.places(y)
	for i := range at {
		if i > 0 && at[i]-at[i-1] < apart-1e-9 || at[i] > height-bottom {
			t.Errorf("names at %v", at)
		}
	}
	var svg bytes.Buffer
	if err := DrawSVG(&svg, c); err != nil {
		t.Fatal(err)
	}
	wellFormed(t, &svg)
}

func TestAxesAreMarkedAtRoundNumbers(t *testing.T) {
	for _, c := range []struct {
		axis   Axis
		values []float64
		want   string
	}{
		{Axis{Log: true, Unit: Micros}, []float64{3, 20000}, "1 µs 10 µs 100 µs 1 ms 10 ms 100 ms"},
		{Axis{Log: true, Unit: Powers}, []float64{1, 6}, "1 2 4 8"},
		{Axis{Log: true, Unit: Bytes}, []float64{1024}, "1 KiB 2 KiB"},
		{Axis{Unit: Percent, To: 1}, []float64{0.93, 0.99}, "0 % 20 % 40 % 60 % 80 % 100 %"},
		{Axis{}, []float64{0, 7}, "0 1 2 3 4 5 6 7"},
		{Axis{}, []float64{5}, "0 1 2 3 4 5"},
	} {
		s, err := c.axis.scale(c.values, 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, tick := range s.ticks {
			names = append(names, tick.name)
		}
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("%v: %s, want %s", c.values, got, c.want)
		}
	}
	for _, bad := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		if _, err := (Axis{Name: "time", Log: true}).scale([]float64{1, bad}, 0, 1); err == nil || !strings.Contains(err.Error(), "time: can't draw") {
			t.Errorf("%v on a logarithmic axis: %v", bad, err)
		}
	}
}

func TestBadFilesAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                         "no line of times",
		"peer,np\n":                "no line of times",
		"a,2\n":                    "line 1: 2 fields: want peer,np",
		"a,two,4,1,1,1\n":          `line 1: np "two"`,
		"a,2,-4,1,1,1\n":           `bytes "-4"`,
		"a,2,4,1,1,0\n":            `median_us "0"`,
		"a,2,4,1,1,NaN\n":          `median_us "NaN"`,
		"a,2,4,1,1,1\na,4,4,1,1,1": "line 2: np 4 after np 2: say which",
	} {
		if _, err := ReadMeasured(strings.NewReader(text), 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
	if _, err := ReadMeasured(strings.NewReader("a,2,4,1,1,1\n"), 8); err == nil || !strings.Contains(err.Error(), "no line of 8 ranks") {
		t.Errorf("got %v", err)
	}
	if _, err := ReadLimits(strings.NewReader("loopback TCP both ways,fast,GB/s\n"), 2, nil); err == nil || !strings.Contains(err.Error(), `value "fast"`) {
		t.Errorf("got %v", err)
	}
	if _, err := ReadLimits(strings.NewReader("name,value,unit\n"), 2, nil); err == nil || !strings.Contains(err.Error(), "nothing about") {
		t.Errorf("got %v", err)
	}
}
