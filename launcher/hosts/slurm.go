package hosts

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ExpandNodes reads a node list as Slurm writes it: n[1-3,7,09-11] for n1, n2, n3, n7, n09,
// n10, n11, and a[1-2]b[3-4] for a1b3, a1b4, a2b3, a2b4. It is done here because scontrol
// needs the configuration of the cluster. Beyond what scontrol knows, text may follow the
// last bracket, and of three or more brackets the last always counts fastest.
func ExpandNodes(list string) ([]string, error) {
	names, err := expand(list)
	if err != nil {
		return nil, fmt.Errorf("node list %s: %w", show(list), err)
	}
	return names, nil
}

func expand(list string) ([]string, error) {
	if list == "" {
		return nil, errors.New("no node in it")
	}
	var names []string
	for more := true; more; {
		var item string
		item, list, more = cutItem(list)
		pieces, err := parsePieces(item)
		if err != nil {
			return nil, err
		}
		if err := checkSize(pieces, maxHosts-len(names)); err != nil {
			return nil, err
		}
		err = product(nil, pieces, func(text string) error {
			name, err := parseHost(text)
			names = append(names, name)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return names, nil
}

// cutItem cuts at the first comma outside of brackets.
func cutItem(s string) (item, rest string, more bool) {
	inside := false
	for i := range len(s) {
		switch s[i] {
		case '[':
			inside = true
		case ']':
			inside = false
		case ',':
			if !inside {
				return s[:i], s[i+1:], true
			}
		}
	}
	return s, "", false
}

// A piece of a name is fixed text, or any number of some spans.
type piece struct {
	text  string
	spans []span
}

// A span is a range of numbers, written with at least width digits.
type span struct {
	low, count uint64
	width      int
}

// checkSize refuses more names than room, and names that are too long, before any is made.
func checkSize(pieces []piece, room int) error {
	names, length := uint64(1), 0
	for _, p := range pieces {
		length += len(p.text)
		if p.spans == nil {
			continue
		}
		length++ // at least
		count := uint64(0)
		for _, s := range p.spans {
			count += s.count
		}
		if names *= min(count, maxHosts+1); names > maxHosts { // so that it cannot overflow
			break
		}
	}
	switch {
	case names > uint64(room):
		return fmt.Errorf("more than %d nodes", maxHosts)
	case length > maxName:
		return fmt.Errorf("a host name has at most %d characters", maxName)
	}
	return nil
}

// product passes on every name that pieces make after prefix; the last bracket counts fastest.
func product(prefix []byte, pieces []piece, emit func(string) error) error {
	if len(pieces) == 0 {
		return emit(string(prefix))
	}
	p, rest := pieces[0], pieces[1:]
	if p.spans == nil {
		return product(append(prefix, p.text...), rest, emit)
	}
	for _, s := range p.spans {
		for n := s.low; n < s.low+s.count; n++ {
			if err := product(appendNumber(prefix, n, s.width), rest, emit); err != nil {
				return err
			}
		}
	}
	return nil
}

func appendNumber(b []byte, n uint64, width int) []byte {
	var room [20]byte
	digits := strconv.AppendUint(room[:0], n, 10)
	for range width - len(digits) {
		b = append(b, '0')
	}
	return append(b, digits...)
}

func parsePieces(s string) ([]piece, error) {
	if s == "" {
		return nil, errors.New("a name is missing beside a comma")
	}
	var pieces []piece
	for s != "" {
		open := strings.IndexAny(s, "[]")
		if open < 0 {
			return append(pieces, piece{text: s}), nil
		}
		if s[open] == ']' {
			return nil, errors.New(`"]" without "["`)
		}
		if open > 0 {
			pieces = append(pieces, piece{text: s[:open]})
		}
		s = s[open+1:]
		end := strings.IndexAny(s, "[]")
		if end < 0 {
			return nil, errors.New(`"[" without "]"`)
		}
		if s[end] == '[' {
			return nil, errors.New("brackets inside brackets")
		}
		spans, err := parseSpans(s[:end])
		if err != nil {
			return nil, err
		}
		pieces = append(pieces, piece{spans: spans})
		s = s[end+1:]
	}
	return pieces, nil
}

func parseSpans(s string) ([]span, error) {
	var spans []span
	for text := range strings.SplitSeq(s, ",") {
		first, last, isRange := strings.Cut(text, "-")
		if !isRange {
			last = first
		}
		low, err := parseNumber(first)
		high, err2 := parseNumber(last)
		switch {
		case err != nil || err2 != nil:
			return nil, fmt.Errorf("%s between brackets: want numbers, such as 1-3,7", show(text))
		case high < low:
			return nil, fmt.Errorf("the range %s runs backwards", show(text))
		case high-low >= maxHosts:
			return nil, fmt.Errorf("more than %d nodes", maxHosts)
		}
		spans = append(spans, span{low: low, count: high - low + 1, width: len(first)})
	}
	return spans, nil
}

// parseNumber reads digits, and nothing that overflows or takes long to write.
func parseNumber(s string) (uint64, error) {
	if s == "" || len(s) > 18 || strings.Trim(s, "0123456789") != "" {
		return 0, errors.New("not a number")
	}
	return strconv.ParseUint(s, 10, 64)
}

// parseCounts reads a number for each node as Slurm writes it: 2(x3),1 for 2, 2, 2, 1.
func parseCounts(s string) ([]int, error) {
	var counts []int
	for text := range strings.SplitSeq(s, ",") {
		each, repeat, repeated := strings.Cut(text, "(x")
		times := 1
		if repeated {
			inner, closed := strings.CutSuffix(repeat, ")")
			n, err := parseSlots(inner)
			if !closed || err != nil {
				return nil, fmt.Errorf("%s: want numbers, such as 2(x3),1", show(text))
			}
			times = n
		}
		n, err := parseSlots(each)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", show(text), err)
		}
		if times > maxHosts-len(counts) {
			return nil, fmt.Errorf("more than %d nodes", maxHosts)
		}
		for range times {
			counts = append(counts, n)
		}
	}
	return counts, nil
}

// fromSlurm reads the environment of a batch script, of salloc's shell, or of a step.
func fromSlurm(v variables, _ func(string) ([]byte, error)) (Allocation, error) {
	a := Allocation{JobName: label(v.get("SLURM_JOB_NAME"))}
	list := v.get("SLURM_JOB_NODELIST")
	if list == "" {
		return a, errors.New("SLURM_JOB_NODELIST is not set, although SLURM_JOB_ID is")
	}
	names, err := expand(list)
	if err != nil {
		return a, fmt.Errorf("SLURM_JOB_NODELIST=%s: %w", show(list), err)
	}
	var hosts tally
	for _, name := range names {
		if hosts.find(name) != nil {
			return a, fmt.Errorf("SLURM_JOB_NODELIST=%s: %s is listed twice", show(list), name)
		}
		if err := hosts.add(name, 0); err != nil {
			return a, err
		}
	}
	a.Hosts = hosts.hosts
	if self := v.get("SLURMD_NODENAME"); self != "" {
		if a.Self, err = parseHost(self); err != nil {
			return a, fmt.Errorf("SLURMD_NODENAME=%s: %w", show(self), err)
		}
	}
	counts, ours, err := slurmCounts(v, len(names))
	if err != nil {
		return a, err
	}
	for i, n := range counts {
		a.Hosts[i].Slots = n
	}
	if ranks := v.get("SLURM_NTASKS"); ranks != "" && ours {
		if a.Ranks, err = parseRanks(ranks); err != nil {
			return a, fmt.Errorf("SLURM_NTASKS=%s: %w", show(ranks), err)
		}
	}
	return a, a.taskOf(v)
}

// taskOf reads which task of a step this is. A batch script is no step, though it has a
// number, and may have been told how many tasks its steps are to have.
func (a *Allocation) taskOf(v variables) error {
	tasks, step := v.get("SLURM_STEP_NUM_TASKS"), v.get("SLURM_STEP_ID")
	if tasks == "" || step == "" {
		return nil
	}
	n, err := parseRanks(tasks)
	if err != nil {
		return fmt.Errorf("SLURM_STEP_NUM_TASKS=%s: %w", show(tasks), err)
	}
	if n == 1 {
		return nil
	}
	task, err := parseNumber(v.get("SLURM_PROCID"))
	if err != nil || task >= uint64(n) {
		return fmt.Errorf("SLURM_PROCID=%s: want a number below SLURM_STEP_NUM_TASKS=%s", show(v.get("SLURM_PROCID")), show(tasks))
	}
	for _, number := range []string{v.get("SLURM_JOB_ID"), step} {
		if _, err := parseNumber(number); err != nil {
			return fmt.Errorf("the step %s of job %s: %w", show(step), show(v.get("SLURM_JOB_ID")), err)
		}
	}
	a.Task, a.Tasks, a.Step = int(task), n, v.get("SLURM_JOB_ID")+"."+step
	return nil
}

// slurmCounts is the slots of each node, if anything is said about them: tasks, else
// processors. Inside a step of fewer nodes than the job has, what is said of tasks is about
// the step, while the node list, which gorun uses, remains the job's: then ours is false.
func slurmCounts(v variables, nodes int) (counts []int, ours bool, err error) {
	var mismatch error
	for _, name := range []string{"SLURM_TASKS_PER_NODE", "SLURM_JOB_CPUS_PER_NODE"} {
		text := v.get(name)
		if text == "" {
			continue
		}
		counts, err := parseCounts(text)
		if err != nil {
			return nil, false, fmt.Errorf("%s=%s: %w", name, show(text), err)
		}
		if len(counts) == nodes {
			return counts, mismatch == nil, nil
		}
		if mismatch == nil {
			mismatch = fmt.Errorf("%s=%s: is for %s, but SLURM_JOB_NODELIST has %d", name, show(text), number(len(counts), "node"), nodes)
		}
	}
	return nil, true, mismatch
}
