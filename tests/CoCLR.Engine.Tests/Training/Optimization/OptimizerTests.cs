// Why this exists: the fast optimizers must step as PyTorch's do, tensor by tensor, and resume exactly.
using System.Text.Json;
using CoCLR.Core.Manifests;
using CoCLR.Engine.Training.Optimization;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;
using Optimizer = CoCLR.Engine.Training.Optimization.Optimizer;

namespace CoCLR.Engine.Tests.Training.Optimization;

public sealed class OptimizerTests
{
    /// <summary>Sizes around the vector width and above one chunk.</summary>
    private static readonly long[][] s_shapes = [[1], [7], [8, 3], [33], [3, 5, 7], [140_003]];

    [Theory]
    [InlineData("adam", 0.01)]
    [InlineData("adam", 0)]
    [InlineData("adamw", 0.01)]
    [InlineData("sgd", 0.01)]
    public void Step_SeveralSteps_MatchesTorch(string rule, double decay)
    {
        using var scope = NewDisposeScope();
        var ours = Parameters(seed: 1);
        var theirs = Parameters(seed: 1);
        using Optimizer optimizer = rule switch
        {
            "sgd" => new Sgd([new ParameterGroup(ours)], 0.1, decay),
            _ => new CoCLR.Engine.Training.Optimization.Adam([new ParameterGroup(ours)], 0.1, decay, decoupled: rule == "adamw"),
        };
        var list = theirs.Select(p => p.Parameter).ToArray();
        using torch.optim.Optimizer reference = rule switch
        {
            "sgd" => optim.SGD(list, 0.1, momentum: 0.9, weight_decay: decay),
            "adamw" => optim.AdamW(list, 0.1, weight_decay: decay),
            _ => optim.Adam(list, 0.1, weight_decay: decay),
        };
        for (var step = 0; step < 5; step++)
        {
            SetGradients(ours, step);
            SetGradients(theirs, step);
            optimizer.Step();
            reference.step();
        }

        foreach (var (mine, other) in ours.Zip(theirs))
        {
            Assert.InRange(Close.AbsoluteError(mine.Parameter, other.Parameter), 0, 2e-6);
        }
    }

    [Fact]
    public void Step_FlatPathOfOtherDevices_MatchesMemoryPath()
    {
        using var scope = NewDisposeScope();
        foreach (var decoupled in new[] { false, true })
        {
            var fast = Parameters(seed: 2);
            // Double precision is not plain memory, so it takes the path of other devices.
            var flat = Parameters(seed: 2, ScalarType.Float64);
            using var a = new CoCLR.Engine.Training.Optimization.Adam([new ParameterGroup(fast, 0.5)], 0.1, 0.01, decoupled: decoupled);
            using var b = new CoCLR.Engine.Training.Optimization.Adam([new ParameterGroup(flat, 0.5)], 0.1, 0.01, decoupled: decoupled);
            for (var step = 0; step < 4; step++)
            {
                SetGradients(fast, step);
                SetGradients(flat, step);
                Assert.Equal(b.GradientNorm().item<double>(), a.GradientNorm().item<double>(), 1e-3);
                a.Step();
                b.Step();
            }

            foreach (var (x, y) in fast.Zip(flat))
            {
                Assert.InRange(Close.AbsoluteError(x.Parameter, y.Parameter), 0, 1e-5);
            }
        }
    }

    [Fact]
    public void Load_StateInTheMiddle_ContinuesBitForBit()
    {
        using var scope = NewDisposeScope();
        var whole = Parameters(seed: 3);
        var broken = Parameters(seed: 3);
        using var a = new CoCLR.Engine.Training.Optimization.Adam([new ParameterGroup(whole)], 0.01, 1e-5);
        CoCLR.Engine.Training.Optimization.Adam Make() => new([new ParameterGroup(broken)], 0.01, 1e-5);
        var b = Make();
        for (var step = 0; step < 6; step++)
        {
            if (step == 3)
            {
                var (state, steps) = (b.State().ToDictionary(e => e.Key, e => e.Value.clone()), b.Steps);
                b.Dispose();
                b = Make();
                b.Load(state, steps);
            }

            SetGradients(whole, step);
            SetGradients(broken, step);
            a.Step();
            b.Step();
        }

        b.Dispose();
        Assert.All(whole.Zip(broken), pair => Assert.True(Close.Same(pair.First.Parameter, pair.Second.Parameter)));
    }

    [Fact]
    public void Step_GradientThatWasReplaced_OrParametersThatWereMoved_AreRefused()
    {
        using var scope = NewDisposeScope();
        var parameters = Parameters(seed: 4);
        using var optimizer = new CoCLR.Engine.Training.Optimization.Adam([new ParameterGroup(parameters)], 0.1, 0.1);
        SetGradients(parameters, 0);
        optimizer.Step();
        optimizer.ZeroGradients();
        Assert.All(parameters, p => Assert.Equal(0, p.Parameter.grad!.abs().sum().item<float>()));

        parameters[2].Parameter.grad = zeros_like(parameters[2].Parameter);
        Assert.Contains("gradient", Assert.Throws<InvalidOperationException>(optimizer.Step).Message, StringComparison.Ordinal);

        using var other = new Sgd([new ParameterGroup(parameters)], 0.1);
        other.Step();
        Assert.Contains("moved", Assert.Throws<InvalidOperationException>(optimizer.Step).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0.5, true)]
    [InlineData(1e9, false)]
    public void ClipGradients_Bound_ScalesToTheBoundOnly(double bound, bool clips)
    {
        using var scope = NewDisposeScope();
        var parameters = Parameters(seed: 5);
        using var optimizer = new Sgd([new ParameterGroup(parameters)], 0.1);
        SetGradients(parameters, 0);
        var expected = Math.Sqrt(parameters.Sum(p => p.Parameter.grad!.to_type(ScalarType.Float64).square().sum().item<double>()));
        Assert.Equal(expected, optimizer.ClipGradients(bound).item<double>(), expected * 1e-9);
        Assert.Equal(clips ? bound : expected, optimizer.GradientNorm().item<double>(), expected * 1e-5);
    }

    [Fact]
    public void LearningRateGolden_StepSchedule_Equals()
    {
        using var document = JsonDocument.Parse(File.ReadAllText(GoldenFolder.Require("lr_schedule.json")));
        foreach (var schedule in document.RootElement.EnumerateObject())
        {
            int[] milestones = [.. schedule.Value.GetProperty("schedule").EnumerateArray().Select(m => m.GetInt32())];
            foreach (var at in schedule.Value.GetProperty("at").EnumerateObject())
            {
                var spec = new OptimizerSpec { LearningRate = schedule.Value.GetProperty("lr").GetRawText(), Milestones = milestones };
                var rate = LearningRateSchedule.Rate(spec, 300, long.Parse(at.Name) * 10, 10);
                Assert.Equal(at.Value.GetDouble(), rate, 1e-12);
            }
        }
    }

    [Fact]
    public void Rate_CosineWithWarmUp_RisesThenFallsToZero()
    {
        var spec = new OptimizerSpec { LearningRate = "0.1", Schedule = Schedule.Cosine, WarmupEpochs = 2 };
        var rates = Enumerable.Range(0, 100).Select(step => LearningRateSchedule.Rate(spec, 10, step, 10)).ToArray();
        Assert.Equal(0.1 / 20, rates[0], 1e-12);
        Assert.Equal(0.1, rates[20], 1e-12);
        Assert.Equal(rates.Take(20).Order(), rates.Take(20));
        Assert.Equal(rates.Skip(20).OrderDescending(), rates.Skip(20));
        Assert.InRange(rates[^1], 0, 1e-3);
    }

    [Fact]
    public void Rate_NoMilestones_DropsLikeTheReference()
        => Assert.Equal([250, 280], LearningRateSchedule.DefaultMilestones(300));

    private static (string Name, Parameter Parameter)[] Parameters(ulong seed, ScalarType dtype = ScalarType.Float32)
    {
        using var generator = new Generator(seed);
        return [.. s_shapes.Select((shape, i) => ($"p{i}", new Parameter(randn(shape, generator: generator).to_type(dtype))))];
    }

    private static void SetGradients((string Name, Parameter Parameter)[] parameters, int step)
    {
        using var generator = new Generator((ulong)(100 + step));
        using var frozen = no_grad();
        foreach (var (_, parameter) in parameters)
        {
            var value = randn(parameter.shape, generator: generator).to_type(parameter.dtype);
            if (parameter.grad is { } given)
            {
                given.copy_(value);
            }
            else
            {
                parameter.grad = value;
            }
        }
    }
}
