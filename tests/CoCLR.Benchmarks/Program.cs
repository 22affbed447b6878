// Why this exists: the entry point of the benchmarks that `coclr bench` starts: `NAME [options]`, one line of JSON each.
using CoCLR.Benchmarks.Augmentation;
using CoCLR.Benchmarks.Compare;
using CoCLR.Benchmarks.Dashboard;
using CoCLR.Benchmarks.Decode;
using CoCLR.Benchmarks.Flow;
using CoCLR.Benchmarks.Operator;
using CoCLR.Benchmarks.Retrieval;
using CoCLR.Benchmarks.Scale;
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
    case ["start", .. var options]:
        StartBench.Run(options);
        return 0;
    case ["step", .. var options]:
        StepBench.Run(options);
        return 0;
    default:
        Console.Error.WriteLine("usage: bench augment|compare|dashboard|decode|flow|operator|retrieval|scale|start|step [options]");
        return 64;
}
