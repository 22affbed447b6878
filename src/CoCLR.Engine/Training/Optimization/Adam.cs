// Why this exists: the reference trains with Adam and L2 weight decay; AdamW differs in one line.
using System.Numerics;
using static TorchSharp.torch;

namespace CoCLR.Engine.Training.Optimization;

/// <summary>
/// Adam: g ← g + λp (all parameters, batch norm too); m ← β₁m + (1-β₁)g; v ← β₂v + (1-β₂)g²;
/// p ← p - η/(1-β₁ᵗ) · m / (√v/√(1-β₂ᵗ) + ε). AdamW instead shrinks p ← (1-ηλ)p first and leaves g alone.
/// </summary>
/// <remarks>Kingma, Ba 2015; Loshchilov, Hutter 2019; method.md 1c.</remarks>
public sealed unsafe class Adam : Optimizer
{
    private readonly double _beta1;
    private readonly double _beta2;
    private readonly double _epsilon;
    private readonly bool _decoupled;

    /// <summary>Makes the optimizer.</summary>
    /// <param name="groups">Parameters.</param>
    /// <param name="learningRate">η; 0.001 in the reference.</param>
    /// <param name="weightDecay">λ; 0.00001 in the reference.</param>
    /// <param name="beta1">β₁.</param>
    /// <param name="beta2">β₂.</param>
    /// <param name="epsilon">ε.</param>
    /// <param name="decoupled">True for AdamW.</param>
    public Adam(IEnumerable<ParameterGroup> groups, double learningRate, double weightDecay = 0, double beta1 = 0.9, double beta2 = 0.999, double epsilon = 1e-8, bool decoupled = false)
        : base(groups, learningRate, weightDecay, "exp_avg", "exp_avg_sq")
    {
        _beta1 = beta1;
        _beta2 = beta2;
        _epsilon = epsilon;
        _decoupled = decoupled;
    }

    private (double Size, double Root) Corrections(double rate)
        => (rate / (1 - Math.Pow(_beta1, Steps)), Math.Sqrt(1 - Math.Pow(_beta2, Steps)));

    private protected override void StepInMemory(Tensor parameters, Tensor gradients, Tensor[] moments, double rate)
    {
        var (size, root) = Corrections(rate);
        var decay = (float)(_decoupled ? 0 : WeightDecay);
        var shrink = (float)(_decoupled ? 1 - (rate * WeightDecay) : 1);
        var (beta1, rest1, beta2, rest2) = ((float)_beta1, (float)(1 - _beta1), (float)_beta2, (float)(1 - _beta2));
        var (stepSize, rootInverse, epsilon) = ((float)size, (float)(1 / root), (float)_epsilon);
        ParameterKernels.ForEachChunk(parameters, gradients, moments[0], moments[1], (p, g, m, v, count) =>
        {
            var i = 0;
            for (; i <= count - Vector<float>.Count; i += Vector<float>.Count)
            {
                var parameter = Vector.Load(p + i) * shrink;
                var gradient = Vector.Load(g + i) + (parameter * decay);
                var first = (Vector.Load(m + i) * beta1) + (gradient * rest1);
                var second = (Vector.Load(v + i) * beta2) + (gradient * gradient * rest2);
                first.Store(m + i);
                second.Store(v + i);
                (parameter - (first * stepSize / ((Vector.SquareRoot(second) * rootInverse) + new Vector<float>(epsilon)))).Store(p + i);
            }

            for (; i < count; i++)
            {
                var parameter = p[i] * shrink;
                var gradient = g[i] + (parameter * decay);
                m[i] = (m[i] * beta1) + (gradient * rest1);
                v[i] = (v[i] * beta2) + (gradient * gradient * rest2);
                p[i] = parameter - (m[i] * stepSize / ((MathF.Sqrt(v[i]) * rootInverse) + epsilon));
            }
        });
    }

    private protected override void StepByOperations(Tensor parameters, Tensor gradients, Tensor[] moments, double rate)
    {
        var (size, root) = Corrections(rate);
        if (_decoupled)
        {
            parameters.mul_(1 - (rate * WeightDecay));
        }
        else if (WeightDecay != 0)
        {
            gradients += parameters * WeightDecay;
        }

        moments[0].mul_(_beta1).add_(gradients * (1 - _beta1));
        moments[1].mul_(_beta2).add_(gradients.square() * (1 - _beta2));
        parameters.sub_(moments[0] * size / (moments[1].sqrt().div_(root).add_(_epsilon)));
    }
}
