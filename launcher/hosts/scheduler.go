package hosts

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"unicode"
)

// An Allocation is what a scheduler has given to a job.
type Allocation struct {
	Scheduler string // Slurm, PBS, LSF or SGE
	JobID     string
	JobName   string
	Hosts     []Host
	Ranks     int    // as the scheduler says; 0 if it does not
	Self      string // this node's name; "" if unknown

	// Of several tasks that run the same command, which is this; and what the scheduler
	// calls them together. Tasks is 0 where there are not several.
	Task, Tasks int
	Step        string
}

// FromScheduler reads what the scheduler says in the environment of this process, and in
// the node file that it names. It finds nothing where no scheduler has started the process.
func FromScheduler(lookup func(string) (string, bool), read func(string) ([]byte, error)) (a Allocation, found bool, err error) {
	v := variables{lookup}
	for _, s := range []struct {
		name string
		sign string // the variable that shows that the scheduler is there
		id   string
		from func(variables, func(string) ([]byte, error)) (Allocation, error)
	}{
		{"Slurm", "SLURM_JOB_ID", "SLURM_JOB_ID", fromSlurm},
		{"PBS", "PBS_NODEFILE", "PBS_JOBID", fromPBS},
		{"LSF", "LSB_JOBID", "LSB_JOBID", fromLSF},
		{"SGE", "PE_HOSTFILE", "JOB_ID", fromSGE},
	} {
		if v.get(s.sign) == "" {
			continue
		}
		if a, err = s.from(v, read); err != nil {
			return Allocation{}, true, fmt.Errorf("%s: %w; name the hosts with -H or --hostfile instead", s.name, err)
		}
		a.Scheduler, a.JobID = s.name, label(v.get(s.id))
		return a, true, nil
	}
	return Allocation{}, false, nil
}

// variables is an environment in which empty means not set.
type variables struct {
	lookup func(string) (string, bool)
}

func (v variables) get(name string) string {
	value, _ := v.lookup(name)
	return value
}

// fromPBS reads PBS_NODEFILE, which has a line a slot.
func fromPBS(v variables, read func(string) ([]byte, error)) (Allocation, error) {
	hosts, err := readNodes("PBS_NODEFILE", v.get("PBS_NODEFILE"), read, oneSlot)
	return Allocation{JobName: label(v.get("PBS_JOBNAME")), Hosts: hosts.hosts, Ranks: hosts.slots()}, err
}

// fromLSF reads LSB_DJOB_HOSTFILE, which has a line a slot, or LSB_MCPU_HOSTS: h1 4 h2 4.
func fromLSF(v variables, read func(string) ([]byte, error)) (Allocation, error) {
	var hosts tally
	var err error
	if path := v.get("LSB_DJOB_HOSTFILE"); path != "" {
		hosts, err = readNodes("LSB_DJOB_HOSTFILE", path, read, oneSlot)
	} else {
		hosts, err = parsePairs("LSB_MCPU_HOSTS", v.get("LSB_MCPU_HOSTS"))
	}
	return Allocation{JobName: label(v.get("LSB_JOBNAME")), Hosts: hosts.hosts, Ranks: hosts.slots()}, err
}

// fromSGE reads PE_HOSTFILE, which has a line for each host and queue: h1 4 all.q@h1 UNDEFINED.
func fromSGE(v variables, read func(string) ([]byte, error)) (Allocation, error) {
	hosts, err := readNodes("PE_HOSTFILE", v.get("PE_HOSTFILE"), read, func(words []string) (string, error) {
		if len(words) < 2 {
			return "", errors.New("want a name, slots, a queue and processors")
		}
		return words[1], nil
	})
	return Allocation{JobName: label(v.get("JOB_NAME")), Hosts: hosts.hosts, Ranks: hosts.slots()}, err
}

func oneSlot(words []string) (string, error) {
	if len(words) != 1 {
		return "", errors.New("want one name a line")
	}
	return "1", nil
}

// readNodes adds up the lines of a scheduler's node file. It begins each line with a name;
// slots finds the number of slots in it.
func readNodes(which, path string, read func(string) ([]byte, error), slots func(words []string) (string, error)) (tally, error) {
	var hosts tally
	text, err := read(path)
	if err != nil {
		var at *fs.PathError // repeats the path
		if errors.As(err, &at) {
			err = at.Err
		}
		return hosts, fmt.Errorf("%s=%s: %w", which, show(path), err)
	}
	for n, line := range lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		count, err := slots(words)
		if err == nil {
			err = hosts.mention(words[0], count)
		}
		if err != nil {
			return hosts, fmt.Errorf("%s=%s: line %d: %s: %w", which, show(path), n, show(strings.TrimSpace(line)), err)
		}
	}
	if len(hosts.hosts) == 0 {
		return hosts, fmt.Errorf("%s=%s: no host in it", which, show(path))
	}
	return hosts, nil
}

func parsePairs(which, text string) (tally, error) {
	var hosts tally
	words := strings.Fields(text)
	if len(words) == 0 {
		return hosts, fmt.Errorf("%s is not set", which)
	}
	for i := 0; i < len(words); i += 2 {
		count := ""
		if i+1 < len(words) {
			count = words[i+1]
		}
		if err := hosts.mention(words[i], count); err != nil {
			return hosts, fmt.Errorf("%s=%s: %s: %w", which, show(text), show(strings.TrimSpace(words[i]+" "+count)), err)
		}
	}
	return hosts, nil
}

// mention adds slots to a host that schedulers may list in several places.
func (t *tally) mention(name, count string) error {
	host, err := parseHost(name)
	if err != nil {
		return err
	}
	slots, err := parseSlots(count)
	if err != nil {
		return fmt.Errorf("slots %s: %w", show(count), err)
	}
	return t.add(host, slots)
}

func parseRanks(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n == 0 || n > maxRanks {
		return 0, fmt.Errorf("want a whole number from 1 to %d", maxRanks)
	}
	return int(n), nil
}

// label is a text that a scheduler passes on, as it can stand in a line of output.
func label(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s[:min(len(s), 256)], ""))
	return strings.TrimSpace(s)
}
