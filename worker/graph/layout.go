package graph

import (
	"fmt"
	"reflect"
	"unsafe"

	G "gorgonia.org/gorgonia"
)

// layout reaches the unexported state of a gorgonia solver. It is written for gorgonia
// v0.9.18 and refuses a struct that looks different; a test keeps it in step with go.mod.
type layout struct {
	rate    *float64
	counter *int          // nil if the solver doesn't count steps
	cache   reflect.Value // its []*dualValue; not valid if it has none
	moments int           // of the dualValue's two values, how many are used
}

// A solver's fields that matter here.
type solverFields struct {
	counter string
	cache   string
	moments int
	refused map[string]string // boolean options that gorgonia gets wrong, and how
}

var solvers = map[reflect.Type]solverFields{
	reflect.TypeFor[G.VanillaSolver](): {},
	reflect.TypeFor[G.Momentum](): {cache: "cache", moments: 1, refused: map[string]string{
		"useL1Reg": "applies WithL1Reg to the velocity, not to the weights",
		"useL2Reg": "applies WithL2Reg to the velocity, not to the weights",
	}},
	reflect.TypeFor[G.RMSPropSolver](): {cache: "cache", moments: 1},
	reflect.TypeFor[G.AdaGradSolver](): {cache: "cache", moments: 1},
	reflect.TypeFor[G.AdamSolver]():    {counter: "iter", cache: "cache", moments: 2},
}

// open finds the state of s.
func open(s G.Solver) (*layout, error) {
	v := reflect.ValueOf(s)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return nil, fmt.Errorf("solver %T is not supported: use gorgonia's VanillaSolver, Momentum, RMSPropSolver, AdaGradSolver or AdamSolver", s)
	}
	v = v.Elem()
	fields, ok := solvers[v.Type()]
	if !ok {
		return nil, fmt.Errorf("solver %T is not supported: use gorgonia's VanillaSolver, Momentum, RMSPropSolver, AdaGradSolver or AdamSolver", s)
	}
	l := &layout{moments: fields.moments}
	rate, err := field(v, "eta", reflect.TypeFor[float64]())
	if err != nil {
		return nil, err
	}
	l.rate = rate.Addr().Interface().(*float64)
	for option, how := range fields.refused {
		on, err := field(v, option, reflect.TypeFor[bool]())
		if err != nil {
			return nil, err
		}
		if on.Bool() {
			return nil, fmt.Errorf("gorgonia's %v %s: leave the option out, or use AdamSolver or VanillaSolver", v.Type().Name(), how)
		}
	}
	if batch := v.FieldByName("batch"); batch.IsValid() && batch.Float() > 1 {
		return nil, fmt.Errorf("solver %T was made WithBatchSize(%v): gradients are averages already, leave it out", s, batch.Float())
	}
	if fields.counter != "" {
		counter, err := field(v, fields.counter, reflect.TypeFor[int]())
		if err != nil {
			return nil, err
		}
		l.counter = counter.Addr().Interface().(*int)
	}
	if fields.cache != "" {
		if l.cache, err = field(v, fields.cache, nil); err != nil {
			return nil, err
		}
		if err := checkCache(l.cache.Type()); err != nil {
			return nil, err
		}
		if l.cache.Len() > 0 {
			return nil, fmt.Errorf("solver %T has been used before: give each job a new one", s)
		}
	}
	return l, nil
}

// field is a field of v that can be set although it is not exported.
func field(v reflect.Value, name string, want reflect.Type) (reflect.Value, error) {
	f := v.FieldByName(name)
	if !f.IsValid() || want != nil && f.Type() != want {
		return f, fmt.Errorf("gorgonia's %v has no field %s of the known type: its version is not the one that go.mod pins", v.Type(), name)
	}
	return reflect.NewAt(f.Type(), unsafe.Pointer(f.UnsafeAddr())).Elem(), nil
}

// checkCache wants []*struct{ Value; d Value }.
func checkCache(t reflect.Type) error {
	value := reflect.TypeFor[G.Value]()
	if t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Pointer {
		if pair := t.Elem().Elem(); pair.Kind() == reflect.Struct && pair.NumField() == 2 &&
			pair.Field(0).Type == value && pair.Field(1).Type == value {
			return nil
		}
	}
	return fmt.Errorf("gorgonia's solver cache is a %v, not a list of two values each: its version is not the one that go.mod pins", t)
}

// allocate makes the cache that gorgonia would make at its first step.
func (l *layout) allocate(params int) {
	if l.moments == 0 {
		return
	}
	l.cache.Set(reflect.MakeSlice(l.cache.Type(), params, params))
	for i := range params {
		l.cache.Index(i).Set(reflect.New(l.cache.Type().Elem().Elem()))
	}
}

func (l *layout) setRate(rate float64)    { *l.rate = rate }
func (l *layout) setCounter(step int64)   { *l.counter = int(step) }
func (l *layout) counterValue() int64     { return int64(*l.counter) }
func (l *layout) moment(i, j int) G.Value { return *l.slot(i, j) }

func (l *layout) setMoment(i, j int, v G.Value) { *l.slot(i, j) = v }

func (l *layout) slot(i, j int) *G.Value {
	f := l.cache.Index(i).Elem().Field(j)
	return (*G.Value)(unsafe.Pointer(f.UnsafeAddr()))
}
