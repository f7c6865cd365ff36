package control

import (
	"strings"
	"testing"
)

func TestGuardsInEnvironment(t *testing.T) {
	for _, x := range []struct {
		env  string
		want Guards
		bad  string
	}{
		{"", Guards{OnNaNStop, DefaultVerifyEvery}, ""},
		{"GORUN_ON_NAN=skip", Guards{OnNaNSkip, DefaultVerifyEvery}, ""},
		{"GORUN_VERIFY_EVERY=0", Guards{OnNaNStop, 0}, ""},
		{strings.Join(Guards{OnNaNRestore, 7}.environ(), " "), Guards{OnNaNRestore, 7}, ""},
		{strings.Join(Guards{}.environ(), " "), Guards{OnNaNStop, 0}, ""},
		{"GORUN_ON_NAN=ignore", Guards{}, "GORUN_ON_NAN=ignore: want one of stop, skip, restore"},
		{"GORUN_VERIFY_EVERY=-1", Guards{}, "GORUN_VERIFY_EVERY=-1: want a number of steps, or 0 for never"},
		{"GORUN_VERIFY_EVERY=1s", Guards{}, "GORUN_VERIFY_EVERY=1s: want a number of steps, or 0 for never"},
	} {
		got, err := ParseGuards(func(name string) (string, bool) {
			for _, kv := range strings.Fields(x.env) {
				if value, ok := strings.CutPrefix(kv, name+"="); ok {
					return value, true
				}
			}
			return "", false
		})
		switch {
		case x.bad == "" && (err != nil || got != x.want):
			t.Errorf("%q: %+v, %v; want %+v", x.env, got, err, x.want)
		case x.bad != "" && (err == nil || err.Error() != x.bad):
			t.Errorf("%q: %v, want %q", x.env, err, x.bad)
		}
	}
}
