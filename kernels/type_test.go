package kernels

import "testing"

func TestVector(t *testing.T) {
	x := []int32{1, 2, 3, 4}
	v := Of(x)
	if v.Type != Int32 || v.Len() != 4 || v.Type.String() != "int32" {
		t.Errorf("Of(%v) is %d of %s", x, v.Len(), v.Type)
	}
	As[int32](v.Slice(1, 3))[0] = 20
	if x[1] != 20 {
		t.Error("a slice of a vector does not alias it")
	}
	if n := (Vector{}).Len(); n != 0 {
		t.Errorf("the zero vector has %d elements", n)
	}
	defer func() {
		if recover() == nil {
			t.Error("a vector of int32 was used as float32")
		}
	}()
	As[float32](v)
}
