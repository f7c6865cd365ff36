package hosts

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// environment is lookup for lines of NAME=VALUE.
func environment(lines string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for line := range strings.SplitSeq(lines, "\n") {
			if value, found := strings.CutPrefix(line, name+"="); found {
				return value, true
			}
		}
		return "", false
	}
}

func TestFromScheduler(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for name, text := range map[string]string{
		"pbs": "n1\nn1\nn2\r\nn1\n\n",
		"lsf": "n1\nn2\nn2\n",
		"sge": "n1.lan 4 all.q@n1.lan UNDEFINED\nn2.lan 2 all.q@n2.lan 0,1\nn1.lan 1 gpu.q@n1.lan <NULL>\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name, env string
		want      Allocation
	}{
		{
			"a batch script",
			"SLURM_JOB_ID=12\nSLURM_JOB_NAME=mnist\nSLURM_JOB_NODELIST=n[1-2,4]\nSLURM_TASKS_PER_NODE=2(x2),1\nSLURM_JOB_CPUS_PER_NODE=4(x3)\nSLURM_NTASKS=5\nSLURMD_NODENAME=n1",
			Allocation{Scheduler: "Slurm", JobID: "12", JobName: "mnist", Hosts: []Host{{"n1", 2}, {"n2", 2}, {"n4", 1}}, Ranks: 5, Self: "n1"},
		},
		{
			"only processors",
			"SLURM_JOB_ID=12\nSLURM_JOB_NODELIST=n[1-2]\nSLURM_JOB_CPUS_PER_NODE=4,8\nSLURM_NTASKS=6",
			Allocation{Scheduler: "Slurm", JobID: "12", Hosts: []Host{{"n1", 4}, {"n2", 8}}, Ranks: 6},
		},
		{
			"neither",
			"SLURM_JOB_ID=12\nSLURM_JOB_NODELIST=n[1-2]\nSLURM_NTASKS=3",
			Allocation{Scheduler: "Slurm", JobID: "12", Hosts: []Host{{"n1", 0}, {"n2", 0}}, Ranks: 3},
		},
		{
			"one of several tasks",
			"SLURM_JOB_ID=12\nSLURM_JOB_NODELIST=n[1-2]\nSLURM_TASKS_PER_NODE=2(x2)\nSLURM_STEP_ID=3\nSLURM_STEP_NUM_TASKS=4\nSLURM_PROCID=2\nSLURMD_NODENAME=n2",
			Allocation{Scheduler: "Slurm", JobID: "12", Hosts: []Host{{"n1", 2}, {"n2", 2}}, Self: "n2", Task: 2, Tasks: 4, Step: "12.3"},
		},
		{
			"the only task",
			"SLURM_JOB_ID=12\nSLURM_JOB_NODELIST=n1\nSLURM_TASKS_PER_NODE=1\nSLURM_STEP_ID=3\nSLURM_STEP_NUM_TASKS=1\nSLURM_PROCID=0",
			Allocation{Scheduler: "Slurm", JobID: "12", Hosts: []Host{{"n1", 1}}},
		},
		{
			"a step on one of two nodes",
			"SLURM_JOB_ID=12\nSLURM_JOB_NODELIST=n[1-2]\nSLURM_TASKS_PER_NODE=1\nSLURM_NTASKS=1\nSLURM_JOB_CPUS_PER_NODE=4(x2)\nSLURMD_NODENAME=n2",
			Allocation{Scheduler: "Slurm", JobID: "12", Hosts: []Host{{"n1", 4}, {"n2", 4}}, Self: "n2"},
		},
		{
			"PBS",
			"PBS_NODEFILE=pbs\nPBS_JOBID=7[3].server\nPBS_JOBNAME=my job",
			Allocation{Scheduler: "PBS", JobID: "7[3].server", JobName: "my job", Hosts: []Host{{"n1", 3}, {"n2", 1}}, Ranks: 4},
		},
		{
			"LSF, a file",
			"LSB_JOBID=9\nLSB_DJOB_HOSTFILE=lsf\nLSB_MCPU_HOSTS=x 1\nLSB_JOBNAME=./run.sh\x1b[2J",
			Allocation{Scheduler: "LSF", JobID: "9", JobName: "./run.sh[2J", Hosts: []Host{{"n1", 1}, {"n2", 2}}, Ranks: 3},
		},
		{
			"LSF, a list",
			"LSB_JOBID=9\nLSB_MCPU_HOSTS=h1 4 h2 4 ",
			Allocation{Scheduler: "LSF", JobID: "9", Hosts: []Host{{"h1", 4}, {"h2", 4}}, Ranks: 8},
		},
		{
			"SGE",
			"PE_HOSTFILE=sge\nJOB_ID=5\nJOB_NAME=train",
			Allocation{Scheduler: "SGE", JobID: "5", JobName: "train", Hosts: []Host{{"n1.lan", 5}, {"n2.lan", 2}}, Ranks: 7},
		},
	} {
		got, found, err := FromScheduler(environment(c.env), os.ReadFile)
		if err != nil || !found || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %t, %v; want %+v", c.name, got, found, err, c.want)
		}
	}
	for _, env := range []string{"", "SLURM_JOB_ID=", "JOB_ID=5", "LSB_MCPU_HOSTS=h1 4", "PBS_JOBID=3"} {
		if got, found, err := FromScheduler(environment(env), os.ReadFile); found || err != nil || !reflect.DeepEqual(got, Allocation{}) {
			t.Errorf("%q: %+v, %t, %v; want nothing", env, got, found, err)
		}
	}
}

func TestFromSchedulerRefuses(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for name, text := range map[string]string{
		"empty": "\n", "two": "n1\nn2 n3\n", "unsafe": "n1\n-v\n", "short": "n1\n", "bad": "n1 x all.q UNDEFINED\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const slurm = "SLURM_JOB_ID=12\nSLURM_JOB_NODELIST=n[1-2]\n"
	for env, want := range map[string]string{
		"SLURM_JOB_ID=12": "Slurm: SLURM_JOB_NODELIST is not set, although SLURM_JOB_ID is",
		"SLURM_JOB_ID=12\nSLURM_JOB_NODELIST=n[1-3":                        `Slurm: SLURM_JOB_NODELIST=n[1-3: "[" without "]"`,
		"SLURM_JOB_ID=12\nSLURM_JOB_NODELIST=n1,n[1-3]":                    "Slurm: SLURM_JOB_NODELIST=n1,n[1-3]: n1 is listed twice",
		slurm + "SLURM_TASKS_PER_NODE=2(x3)":                               "Slurm: SLURM_TASKS_PER_NODE=2(x3): is for 3 nodes, but SLURM_JOB_NODELIST has 2",
		slurm + "SLURM_TASKS_PER_NODE=2\nSLURM_JOB_CPUS_PER_NODE=4(x3)":    "Slurm: SLURM_TASKS_PER_NODE=2: is for 1 node, but SLURM_JOB_NODELIST has 2",
		slurm + "SLURM_TASKS_PER_NODE=2(x2":                                "Slurm: SLURM_TASKS_PER_NODE=2(x2: 2(x2: want numbers, such as 2(x3),1",
		slurm + "SLURM_TASKS_PER_NODE=0(x2)":                               "Slurm: SLURM_TASKS_PER_NODE=0(x2): 0(x2): want a whole number from 1",
		slurm + "SLURM_NTASKS=-1":                                          "Slurm: SLURM_NTASKS=-1: want a whole number from 1 to 1048576",
		slurm + "SLURM_STEP_ID=0\nSLURM_STEP_NUM_TASKS=x":                  "Slurm: SLURM_STEP_NUM_TASKS=x: want a whole number from 1 to 1048576",
		slurm + "SLURM_STEP_ID=0\nSLURM_STEP_NUM_TASKS=2\nSLURM_PROCID=2":  "Slurm: SLURM_PROCID=2: want a number below SLURM_STEP_NUM_TASKS=2",
		slurm + "SLURM_STEP_ID=-v\nSLURM_STEP_NUM_TASKS=2\nSLURM_PROCID=1": "Slurm: the step -v of job 12: not a number",
		slurm + "SLURMD_NODENAME=-v":                                       `Slurm: SLURMD_NODENAME=-v: a host name does not begin with "-"`,
		"PBS_NODEFILE=none":                                                "PBS: PBS_NODEFILE=none: no such file or directory",
		"PBS_NODEFILE=empty":                                               "PBS: PBS_NODEFILE=empty: no host in it",
		"PBS_NODEFILE=two":                                                 "PBS: PBS_NODEFILE=two: line 2: n2 n3: want one name a line",
		"PBS_NODEFILE=unsafe":                                              `PBS: PBS_NODEFILE=unsafe: line 2: -v: a host name does not begin with "-"`,
		"LSB_JOBID=9":                                                      "LSF: LSB_MCPU_HOSTS is not set",
		"LSB_JOBID=9\nLSB_MCPU_HOSTS=h1 4 h2":                              `LSF: LSB_MCPU_HOSTS=h1 4 h2: h2: slots "": want a whole number from 1`,
		"LSB_JOBID=9\nLSB_DJOB_HOSTFILE=none":                              "LSF: LSB_DJOB_HOSTFILE=none: no such file or directory",
		"PE_HOSTFILE=short":                                                "SGE: PE_HOSTFILE=short: line 1: n1: want a name, slots, a queue and processors",
		"PE_HOSTFILE=bad":                                                  "SGE: PE_HOSTFILE=bad: line 1: n1 x all.q UNDEFINED: slots x: want a whole number from 1",
	} {
		want += "; name the hosts with -H or --hostfile instead"
		got, found, err := FromScheduler(environment(env), os.ReadFile)
		if err == nil || err.Error() != want || !found || !reflect.DeepEqual(got, Allocation{}) {
			t.Errorf("%q: %+v, %t, %v; want\n%s", env, got, found, err, want)
		}
	}
}

// FuzzFromScheduler gives arbitrary text to every variable of a scheduler and to its file.
func FuzzFromScheduler(f *testing.F) {
	for scheduler, seeds := range [][2]string{
		{"n[1-2]", "2(x2)"},
		{"n1", "n1\nn1\r\nn2\n"},
		{"h1 4 h2 4", ""},
		{"h1 4", "n1\nn2"},
		{"", "n1 4 all.q@n1 UNDEFINED\nn2 2 all.q@n2 <NULL>\n"},
	} {
		f.Add(uint8(scheduler), seeds[0], seeds[1])
	}
	f.Add(uint8(0), "n[1-65536]", "1(x65536)")
	f.Add(uint8(1), "-v", "-v\x00")
	signs := []string{"SLURM_JOB_ID", "PBS_NODEFILE", "LSB_JOBID", "LSB_JOBID", "PE_HOSTFILE"}
	f.Fuzz(func(t *testing.T, scheduler uint8, value, text string) {
		sign := signs[int(scheduler)%len(signs)]
		lookup := func(name string) (string, bool) {
			switch name {
			case sign:
				return "1", true
			case "SLURM_JOB_ID", "PBS_NODEFILE", "LSB_JOBID", "PE_HOSTFILE": // another scheduler
				return "", false
			case "LSB_DJOB_HOSTFILE":
				return "file", scheduler%2 == 1
			case "SLURM_STEP_NUM_TASKS", "SLURM_STEP_ID", "SLURM_PROCID":
				return text, scheduler%2 == 1
			case "SLURM_TASKS_PER_NODE", "SLURM_NTASKS":
				return text, true
			default:
				return value, true
			}
		}
		read := func(string) ([]byte, error) {
			if text == "" {
				return nil, errors.New("no such file")
			}
			return []byte(text), nil
		}
		a, found, err := FromScheduler(lookup, read)
		if !found {
			t.Error("not found")
		}
		if err != nil {
			checkError(t, err)
			return
		}
		if len(a.Hosts) == 0 || a.Ranks < 0 || a.Scheduler == "" {
			t.Errorf("%+v", a)
		}
		checkNames(t, a.Hosts)
		for _, s := range []string{a.JobID, a.JobName} {
			if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' }) || len(s) > 256 {
				t.Errorf("a label is %q", s)
			}
		}
		if a.Self != "" {
			checkNames(t, []Host{{Name: a.Self}})
		}
	})
}
