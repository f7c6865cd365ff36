package launcher

import (
	"testing"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
)

func trained(step int, t float64) Metrics {
	loss := 0.1823
	return Metrics{
		T: t, Generation: 1, Size: 4, Step: step, Epoch: (step-1)/100 + 1, Loss: &loss, Samples: 64,
		ComputeMS: 71, CommMS: 19, InputMS: 10,
		last: control.Report{Step: step, Steps: 300, Epoch: (step-1)/100 + 1, Epochs: 3, StepOfEpoch: (step-1)%100 + 1, StepsPerEpoch: 100},
	}
}

func TestProgressLine(t *testing.T) {
	now := time.Unix(0, 0)
	p := newProgress(now)
	if got := p.line(); got != "" {
		t.Errorf("before the first step: %q", got)
	}
	var kept []string
	for step := 1; step <= 150; step++ {
		if line := p.add(trained(step, 100+float64(step)/500), now, true); line != "" {
			kept = append(kept, line)
		}
	}
	const end = "epoch 1/3 ━━━━━━━━━━━━━━━━━━ 100/100 · 32 000 samples/s · loss 0.182 · compute 71 % comm 19 % input 10 %"
	if len(kept) != 1 || kept[0] != end {
		t.Errorf("kept %q, want %q once", kept, end)
	}
	const half = "epoch 2/3 ━━━━━━━━━───────── 50/100 · 32 000 samples/s · loss 0.182 · compute 71 % comm 19 % input 10 %"
	if got := p.line(); got != half {
		t.Errorf("line\n%s\nwant\n%s", got, half)
	}
}

func TestPlainProgressIsSaidEveryTenSeconds(t *testing.T) {
	now := time.Unix(0, 0)
	p := newProgress(now)
	said := 0
	for step := 1; step <= 99; step++ {
		now = now.Add(time.Second)
		if p.add(trained(step, float64(now.Unix())), now, true) != "" {
			said++
		}
	}
	if said != 9 {
		t.Errorf("said %d times in 99 s, want 9", said)
	}
}

func TestProgressWithoutEpochsOrLoss(t *testing.T) {
	p := newProgress(time.Unix(0, 0))
	m := Metrics{T: 5, Generation: 1, Step: 7, Samples: 2, last: control.Report{Step: 7}}
	p.add(m, time.Unix(0, 0), false)
	if got := p.line(); got != "step 7 · loss not finite" {
		t.Errorf("line %q", got)
	}
	m.last.Steps = 14
	p.add(m, time.Unix(0, 0), false)
	if got := p.line(); got != "step ━━━━━━━━━───────── 7/14 · loss not finite" {
		t.Errorf("line %q", got)
	}
}

func TestNumbersForPeople(t *testing.T) {
	for want, got := range map[string]string{
		"12.3": grouped(12.34), "123": grouped(123), "41 200": grouped(41200), "1 234 567": grouped(1234567),
		"1.9 s": lasted(1900 * time.Millisecond), "38 s": lasted(38 * time.Second),
		"2 min 5 s": lasted(125 * time.Second), "1 h 12 min": lasted(72 * time.Minute),
		"1 rank": plural(1, "rank"), "4 ranks": plural(4, "rank"),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
