package worker

import "testing"

func TestNetworkFromEnvironment(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		want Network
		err  string
	}{
		{nil, Network{}, ""},
		{map[string]string{"GORUN_TRANSPORT": "tcp", "GORUN_DETERMINISTIC": "true", "GORUN_ENCRYPT": "1"}, Network{Transport: "tcp", Deterministic: true, Encrypt: true}, ""},
		{map[string]string{"GORUN_ENCRYPT": "false"}, Network{}, ""},
		{map[string]string{"GORUN_ENCRYPT": "maybe"}, Network{}, `GORUN_ENCRYPT="maybe": want true or false`},
		{map[string]string{"GORUN_DETERMINISTIC": "maybe"}, Network{}, `GORUN_DETERMINISTIC="maybe": want true or false`},
	} {
		got, err := networkFromEnvironment(func(name string) (string, bool) { v, ok := c.env[name]; return v, ok })
		text := ""
		if err != nil {
			text = err.Error()
		}
		if got != c.want || text != c.err {
			t.Errorf("%v: %+v, %q; want %+v, %q", c.env, got, text, c.want, c.err)
		}
	}
	// A program may ask for it where the environment does not; it can't take it back.
	if n := (Network{Encrypt: true}).over(Network{}); !n.Encrypt {
		t.Error("the program's wish is lost")
	}
	if n := (Network{}).over(Network{Encrypt: true}); !n.Encrypt {
		t.Error("the environment's wish is lost")
	}
}
