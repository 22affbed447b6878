// Why this exists: the entry point of the benchmarks that `coclr bench` starts: `NAME [options]`, one line of JSON each (compare and small: tables); without a name all of
// docs/benchmarks.md, one after the other.
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

switch (args)
{
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
    case ["operator", .. var options]:
        OperatorBench.Run(options);
        return 0;
    case ["retrieval", .. var options]:
        RetrievalBench.Run(options);
        return 0;
    case ["scale", .. var options]:
        ScaleBench.Run(options);
        return 0;
    case ["small", .. var options]:
        SmallBench.Run(options);
        return 0;
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
        Console.Error.WriteLine("usage: bench [augment|compare|dashboard|decode|flow|operator|retrieval|scale|small|start|step [options]]");
        return 64;
}
