// Why this exists: linear probes are trained with momentum SGD.
using System.Numerics;
using static TorchSharp.torch;

namespace CoCLR.Engine.Training.Optimization;

/// <summary>Momentum SGD as PyTorch writes it: g ← g + λp; b ← μb + g; p ← p - ηb.</summary>
public sealed unsafe class Sgd : Optimizer
{
    private readonly double _momentum;

    /// <summary>Makes the optimizer.</summary>
    /// <param name="groups">Parameters.</param>
    /// <param name="learningRate">η.</param>
    /// <param name="weightDecay">λ.</param>
    /// <param name="momentum">μ.</param>
    public Sgd(IEnumerable<ParameterGroup> groups, double learningRate, double weightDecay = 0, double momentum = 0.9)
        : base(groups, learningRate, weightDecay, "momentum_buffer")
    {
        _momentum = momentum;
    }

    private protected override void StepInMemory(Tensor parameters, Tensor gradients, Tensor[] moments, double rate)
    {
        var (decay, momentum, stepSize) = ((float)WeightDecay, (float)_momentum, (float)rate);
        ParameterKernels.ForEachChunk(parameters, gradients, moments[0], null, (p, g, b, _, count) =>
        {
            var i = 0;
            for (; i <= count - Vector<float>.Count; i += Vector<float>.Count)
            {
                var parameter = Vector.Load(p + i);
                var buffer = (Vector.Load(b + i) * momentum) + (Vector.Load(g + i) + (parameter * decay));
                buffer.Store(b + i);
                (parameter - (buffer * stepSize)).Store(p + i);
            }

            for (; i < count; i++)
            {
                b[i] = (b[i] * momentum) + (g[i] + (p[i] * decay));
                p[i] -= b[i] * stepSize;
            }
        });
    }

    private protected override void StepByOperations(Tensor parameters, Tensor gradients, Tensor[] moments, double rate)
    {
        moments[0].mul_(_momentum).add_(gradients + (parameters * WeightDecay));
        parameters.sub_(moments[0] * rate);
    }
}
