// Why this exists: the entry point of the benchmarks that `coclr bench` starts: `NAME [options]`, one line of JSON each (compare and small:
// tables); without a name all of docs/benchmarks.md, one after the other.
using System.Diagnostics;
using CoCLR.Benchmarks.Augmentation;
using CoCLR.Benchmarks.Compare;
using CoCLR.Benchmarks.Dashboard;
using CoCLR.Benchmarks.Decode;
using CoCLR.Benchmarks.Flow;
using CoCLR.Benchmarks.Operator;
using CoCLR.Benchmarks.Retrieval;
using CoCLR.Benchmarks.Scale;
using CoCLR.Benchmarks.Small;
using CoCLR.Benchmarks.Start;
using CoCLR.Benchmarks.Step;

const string Usage = """
    usage: bench [NAME [options]]      without a name: all of docs/benchmarks.md

      augment    --mode policy|base|null --samples 200 --through augmenter|loader|device --device cpu|cuda
      compare    --rounds 5 --only TEXT
      dashboard  [start|ingest|latency|clients|pages|circuits|open|sender|memory ...] --seconds 5 --rounds 5 --clients 500 --circuits 200 --runs 1000 --open 500 --points 100000 --minutes 60
      decode     --videos FOLDER --rounds 5 --side 147 --limit 40
      flow       --size 320x240 --threads 2 --pairs 16 --repeats 5 --algorithm TVL1|Fast --device cpu|cuda
      gpu        --rounds 2 --steps 20 --only TEXT --device cuda --small      the rows of "One GPU" in docs/benchmarks.md, beside COCLR_PYTHON's PyTorch
      operator   --new 500 --finished 5000 --rest 15 --warm-up 40 --operator DIR
      retrieval  --n 100000 --d 1024 --k 50 --batch 64 --rounds 9 --threads 2
      scale      --videos 1000,10000 --queues 512,1024,2048 --batch 32 --device cpu|cuda
      scale      --ranks 1,2,4 --batch 16 --frames 16 --size 64 --backbone S3D --steps 9 --device cpu|cuda
      small      --only TEXT
      start      --rounds 5
      step       --step infonce|coclr|extract --device cpu|cuda --amp bf16 --tf32 --batch 8 --frames 16 --size 64 --steps 9 --cudnn-benchmark --plain
    """;

switch (args)
{
    case [.., "--help" or "-h"]:
        Console.WriteLine(Usage);
        return 0;
    case ["augment", .. var options]:
        AugmentationBench.Run(options);
        return 0;
    case ["compare", .. var options]:
        CompareBench.Run(options);
        return 0;
    case ["dashboard", .. var options]:
        DashboardBench.Run(options);
        return 0;
    case ["decode", .. var options]:
        DecodeBench.Run(options);
        return Environment.ExitCode;
    case ["flow", .. var options]:
        FlowBench.Run(options);
        return 0;
    case ["gpu", .. var options]:
        GpuBench.Run(options);
        return 0;
    case ["operator", .. var options]:
        OperatorBench.Run(options);
        return 0;
    case ["retrieval", .. var options]:
        RetrievalBench.Run(options);
        return 0;
    case ["scale", .. var options] when options.Contains("--ranks"):
        RanksBench.Run(options);
        return 0;
    case ["scale", .. var options]:
        ScaleBench.Run(options);
        return 0;
    case ["small", .. var options]:
        return SmallBench.Run(options);
    case ["start", .. var options]:
        StartBench.Run(options);
        return 0;
    case ["step", .. var options]:
        StepBench.Run(options);
        return 0;
    case []:
        // Each in a process of its own, so that none lives on what another has warmed up or left in memory.
        string[] all = ["compare", "decode", "retrieval", "start", "small", "scale", "operator", "dashboard"];
        int worst = 0;
        foreach (string name in all)
        {
            Console.WriteLine($"## {name}");
            using var one = Process.Start(Environment.ProcessPath!, [typeof(CompareBench).Assembly.Location, name]);
            one.WaitForExit();
            worst = Math.Max(worst, one.ExitCode);
        }

        return worst;
    default:
        Console.Error.WriteLine(Usage);
        return 64;
}
