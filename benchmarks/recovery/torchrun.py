# torchrun and its ranks, for benchmarks/recovery: started without RANK it is torchrun.
import os
import sys
import time


def launch():
    from torch.distributed.elastic.multiprocessing import api
    from torch.distributed.run import main

    try:
        api.Std.from_str("0").value
    except AttributeError:  # torch 1.13 can't parse its own default with Python 3.11
        api.Std.from_str = classmethod(lambda cls, text: cls(int(text)))
    main()


def train():
    import torch
    import torch.distributed as dist

    folder = os.environ["RECOVERY_DIR"]
    state = int(os.environ["RECOVERY_STATE"])
    rank, restart = os.environ["RANK"], os.environ["TORCHELASTIC_RESTART_COUNT"]
    torch.set_num_threads(1)
    torch.manual_seed(1)
    dist.init_process_group("gloo")
    if state:
        model = torch.nn.Linear(1, state // 16)  # weight and bias, and momentum of both
        inputs = 1
    else:
        model = torch.nn.Sequential(torch.nn.Linear(784, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
        inputs = 784
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9)
    saved, step = folder + "/saved", 0
    if os.path.exists(saved):
        last = torch.load(saved)
        model.load_state_dict(last["model"])
        optimizer.load_state_dict(last["optimizer"])
        step = last["step"]
    parallel = torch.nn.parallel.DistributedDataParallel(model)
    steps = os.open(folder + "/steps", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    rows = 1 if state else 16
    while True:
        optimizer.zero_grad()
        parallel(torch.rand(rows, inputs)).square().mean().backward()
        optimizer.step()
        step += 1
        os.write(steps, f"{time.time():.6f} {restart} {step} {rank} {os.getpid()}\n".encode())
        if rank == "0" and step % 10 == 0:
            now = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
            torch.save(now, saved + ".part")
            os.replace(saved + ".part", saved)


if "RANK" in os.environ:
    train()
else:
    launch()
