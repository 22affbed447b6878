// Why this exists: `coclr bench small` times the small parts that the long benchmarks are made of, with BenchmarkDotNet, ours beside the plain way of doing it.
using BenchmarkDotNet.Attributes;
using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Jobs;
using BenchmarkDotNet.Reports;
using BenchmarkDotNet.Running;
using BenchmarkDotNet.Toolchains.InProcess.Emit;
using CoCLR.Engine;
using CoCLR.Engine.Contrastive;
using CoCLR.Engine.Contrastive.Methods;
using CoCLR.Engine.Models;
using CoCLR.Engine.Training.Optimization;
using CoCLR.Engine.Video.Augmentation;
using static TorchSharp.torch;

namespace CoCLR.Benchmarks.Small;

/// <summary>Runs the classes of this file (BenchmarkDotNet derives from them: none is sealed) in this process: libtorch is loaded once, and nothing is built.</summary>
internal static class SmallBench
{
    /// <summary>Measures and prints BenchmarkDotNet's tables.</summary>
    /// <param name="arguments">`--only TEXT`: benchmarks whose name holds it.</param>
    /// <returns>0, or 1 when a benchmark gave no measurement.</returns>
    public static int Run(string[] arguments)
    {
        TorchRuntime.Initialize();
        var only = Array.IndexOf(arguments, "--only") is >= 0 and var i && i + 1 < arguments.Length ? arguments[i + 1] : "";
        var config = ManualConfig.Create(DefaultConfig.Instance)
            .WithOptions(ConfigOptions.DisableLogFile | ConfigOptions.JoinSummary)
            .WithArtifactsPath(Path.Combine(Path.GetTempPath(), "coclr-bench-small"))
            .AddJob(Job.ShortRun.WithToolchain(InProcessEmitToolchain.Instance));
        Summary[] summaries = [.. BenchmarkSwitcher.FromTypes([typeof(ParameterBenchmarks), typeof(QueueBenchmarks), typeof(FrameBenchmarks)]).Run(["--filter", $"*{only}*"], config)];
        return summaries.Length > 0 && summaries.All(s => !s.HasCriticalValidationErrors && s.Reports.All(r => r.Success)) ? 0 : 1;
    }
}

/// <summary>Over all 231 parameters of S3D: one pass over everything against tensor by tensor.</summary>
public class ParameterBenchmarks : IDisposable
{
    private VideoEncoder _query = null!;
    private VideoEncoder _key = null!;
    private Tensor[] _queries = null!;
    private Tensor[] _keys = null!;
    private FlatTensors _flatQueries = null!;
    private FlatTensors _flatKeys = null!;
    private Adam _adam = null!;
    private optim.Optimizer _stock = null!;

    /// <summary>Two encoders with gradients.</summary>
    [GlobalSetup]
    public void Setup()
    {
        (_query, _key) = (VideoEncoder.Create("S3D"), VideoEncoder.Create("S3D", seed: 1));
        (_queries, _keys) = ([.. _query.parameters()], [.. _key.parameters()]);
        foreach (var parameter in _keys)
        {
            parameter.requires_grad = false;
        }

        (_flatQueries, _flatKeys) = (new FlatTensors(_queries), new FlatTensors(_keys));
        _adam = new Adam([ParameterGroup.Of(_query) with { Flat = _flatQueries }], 1e-3, 1e-5);
        foreach (var parameter in _queries)
        {
            parameter.grad!.copy_(randn_like(parameter) * 1e-3);
        }

        _stock = optim.Adam(_query.parameters(), 1e-3, weight_decay: 1e-5);
    }

    /// <inheritdoc/>
    [GlobalCleanup]
    public void Dispose()
    {
        _adam.Dispose();
        _flatQueries.Dispose();
        _flatKeys.Dispose();
        _stock.Dispose();
        _query.Dispose();
        _key.Dispose();
        GC.SuppressFinalize(this);
    }

    /// <summary>One step of the engine's Adam.</summary>
    [Benchmark]
    public void AdamStep() => _adam.Step();

    /// <summary>One step of TorchSharp's Adam.</summary>
    [Benchmark]
    public void AdamStepOfTorchSharp() => _stock.step();

    /// <summary>The engine's momentum update.</summary>
    [Benchmark]
    public void MomentumUpdate() => ParameterKernels.MomentumUpdate(_flatKeys.All, _flatQueries.All, 0.999);

    /// <summary>The momentum update as the published code writes it.</summary>
    [Benchmark]
    public void MomentumUpdateByTensor()
    {
        using var frozen = no_grad();
        using var scope = NewDisposeScope();
        foreach (var (key, query) in _keys.Zip(_queries))
        {
            key.copy_((key * 0.999) + (query * 0.001));
        }
    }
}

/// <summary>What a step does beside its networks, batch 32, dimension 128, 2,048 keys.</summary>
public class QueueBenchmarks : IDisposable
{
    private readonly KeyQueue _queue = new(128, 2048, second: true);
    private Tensor _query = null!;
    private Tensor _key = null!;
    private Tensor _second = null!;
    private Tensor _labels = null!;

    /// <summary>A full queue with labels.</summary>
    [GlobalSetup]
    public void Setup()
    {
        (_query, _key, _second) = (Unit(32), Unit(32), Unit(32));
        _labels = randint(0, 10, [32], ScalarType.Int64);
        for (var i = 0; i < 2048; i += 32)
        {
            using var keys = Unit(32);
            _queue.Enqueue(keys, keys, _labels, _labels);
        }
    }

    /// <inheritdoc/>
    [GlobalCleanup]
    public void Dispose()
    {
        _queue.Dispose();
        GC.SuppressFinalize(this);
    }

    /// <summary>InfoNCE.</summary>
    [Benchmark]
    public float InfoNceLoss() => Loss(logits => InfoNce.Loss(logits));

    /// <summary>UberNCE with its mask.</summary>
    [Benchmark]
    public float UberNceLoss() => Loss(logits => UberNce.Loss(logits, UberNce.Positives(_labels, _queue.Labels)));

    /// <summary>CoCLR: mining, mask, loss.</summary>
    [Benchmark]
    public float CoClrLoss() => Loss(logits => CoClr.Loss(logits, CoClr.Positives(_labels, _queue.Videos, _second.matmul(_queue.SecondKeys!), 5, queueFull: true)));

    /// <summary>The exchange of keys.</summary>
    [Benchmark]
    public void Enqueue() => _queue.Enqueue(_key, _second, _labels, _labels);

    private static Tensor Unit(int rows) => nn.functional.normalize(randn(rows, 128), dim: 1);

    private float Loss(Func<Tensor, Tensor> loss)
    {
        using var scope = NewDisposeScope();
        return loss(ContrastiveLogits.Of(_query, _key, _queue.Keys, 0.07)).item<float>();
    }
}

/// <summary>One frame of 320x240 to 128x128: the operations of augmentation on their own.</summary>
public class FrameBenchmarks
{
    private readonly byte[] _frame = new byte[320 * 240 * 3];
    private byte[] _small = [];

    /// <summary>Noise.</summary>
    [GlobalSetup]
    public void Setup()
    {
        new Random(0).NextBytes(_frame);
        _small = CropResize();
    }

    /// <summary>Bicubic crop and resize.</summary>
    [Benchmark]
    public byte[] CropResize() => ImageOperations.CropResize(_frame, 320, 240, new CropBox(40, 20, 200, 180), 128);

    /// <summary>Hue of the small frame.</summary>
    [Benchmark]
    public byte[] Hue() => ImageOperations.Adjust(_small, ColorOperation.Hue, 0.1f);

    /// <summary>Gaussian blur of the small frame.</summary>
    [Benchmark]
    public byte[] Blur() => ImageOperations.GaussianBlur(_small, 128, 128, 1.5f);
}
