package topology

import (
	"fmt"
	"slices"
	"testing"
)

func TestUniformWorlds(t *testing.T) {
	for _, c := range []struct {
		np, hosts int
		want      string
	}{
		{12, 3, "[[0 1 2 3] [4 5 6 7] [8 9 10 11]]"},
		{5, 2, "[[0 1 2] [3 4]]"},
		{2, 5, "[[0] [1]]"},
		{3, 0, "[[0 1 2]]"},
		{0, 1, "[]"},
	} {
		if got := fmt.Sprint(Uniform(c.np, c.hosts).ByHost()); got != c.want {
			t.Errorf("%d ranks on %d hosts: %s, want %s", c.np, c.hosts, got, c.want)
		}
	}
}

func TestOrderKeepsHostsTogether(t *testing.T) {
	w := World{Hosts: []int{7, 2, 7, 0, 2}} // some ranks of a larger world
	if got := fmt.Sprint(w.ByHost()); got != "[[0 2] [1 4] [3]]" {
		t.Errorf("by host: %s", got)
	}
	if got := fmt.Sprint(w.order()); got != "[0 2 1 4 3]" {
		t.Errorf("order: %s", got)
	}
	if got := fmt.Sprint(w.orderFrom(4)); got != "[4 1 3 0 2]" {
		t.Errorf("order from rank 4: %s", got)
	}
	if got := w.String(); got != "5 ranks on 3 hosts" {
		t.Error(got)
	}
}

func TestTreesAreTrees(t *testing.T) {
	for name, s := range map[string]shape{
		"inorder": inorder, "other": other, "binomial": binomial, "chain": chain,
		"hung inorder": hung(inorder), "hung other": hung(other),
	} {
		for n := 1; n <= 66; n++ {
			roots := 0
			for pos := range n {
				parent, children := s(pos, n)
				if parent == None {
					roots++
				} else if _, back := s(parent, n); !slices.Contains(back, pos) {
					t.Fatalf("%s of %d: %d has parent %d, which has children %v", name, n, pos, parent, back)
				}
				for _, child := range children {
					if back, _ := s(child, n); back != pos {
						t.Fatalf("%s of %d: %d has child %d, which has parent %d", name, n, pos, child, back)
					}
				}
				top := pos
				for steps := 0; top != None; steps++ {
					if steps > n {
						t.Fatalf("%s of %d: no root above %d", name, n, pos)
					}
					top, _ = s(top, n)
				}
			}
			if roots != 1 {
				t.Fatalf("%s of %d: %d roots", name, n, roots)
			}
		}
	}
}

// No rank is an inner node of both trees, and neither is higher than it has to be.
func TestDoubleTreesShareNoInnerNode(t *testing.T) {
	for n := 1; n <= 150; n++ {
		for pos := range n {
			_, one := inorder(pos, n)
			_, two := other(pos, n)
			if len(one) > 0 && len(two) > 0 {
				t.Fatalf("%d of %d has children %v and %v", pos, n, one, two)
			}
			high := 0
			for up, _ := inorder(pos, n); up != None; up, _ = inorder(up, n) {
				high++
			}
			if 1<<high > n {
				t.Fatalf("%d of %d is %d edges below the root", pos, n, high)
			}
		}
	}
}
