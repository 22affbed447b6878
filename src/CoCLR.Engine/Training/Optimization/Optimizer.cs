// Why this exists: one optimizer interface with state by tensor name, fast on the processor and exact to resume.
using CoCLR.Core.Manifests;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace CoCLR.Engine.Training.Optimization;

/// <summary>Parameters that share a factor on the learning rate.</summary>
/// <param name="Parameters">Names (unique over all groups) and tensors.</param>
/// <param name="RateScale">Factor on the optimizer's learning rate; fine-tuning uses 0.1 for the backbone.</param>
public sealed record ParameterGroup(IReadOnlyList<(string Name, Parameter Parameter)> Parameters, double RateScale = 1)
{
    /// <summary>All parameters of a module that want gradients.</summary>
    /// <param name="module">The module.</param>
    /// <param name="rateScale">Factor on the learning rate.</param>
    public static ParameterGroup Of(nn.Module module, double rateScale = 1)
    {
        ArgumentNullException.ThrowIfNull(module);
        return new ParameterGroup([.. module.named_parameters().Where(p => p.parameter.requires_grad).Select(p => (p.name, p.parameter))], rateScale);
    }
}

/// <summary>
/// Moves parameters against their gradients. Parameters without a gradient are left alone. On the processor each step is one pass over
/// memory, the same to the bit for any number of threads.
/// </summary>
public abstract class Optimizer : IDisposable
{
    private readonly ParameterGroup[] _groups;
    private readonly Dictionary<string, Tensor>[] _moments;
    private readonly string[] _momentNames;

    /// <summary>Sets up zero moments for all parameters.</summary>
    /// <param name="groups">Parameters; their names must be unique.</param>
    /// <param name="learningRate">Learning rate of a group with factor 1.</param>
    /// <param name="weightDecay">Weight decay.</param>
    /// <param name="momentNames">Names of the running moments that the rule keeps.</param>
    private protected Optimizer(IEnumerable<ParameterGroup> groups, double learningRate, double weightDecay, params string[] momentNames)
    {
        _groups = [.. groups];
        LearningRate = learningRate;
        WeightDecay = weightDecay;
        _momentNames = momentNames;
        _moments = [.. momentNames.Select(_ => new Dictionary<string, Tensor>())];
        using var frozen = no_grad();
        foreach (var (name, parameter) in _groups.SelectMany(group => group.Parameters))
        {
            foreach (var moments in _moments)
            {
                if (!moments.TryAdd(name, zeros_like(parameter, requires_grad: false).contiguous().DetachFromDisposeScope()))
                {
                    throw new ArgumentException($"Two parameters are named '{name}'.", nameof(groups));
                }
            }
        }
    }

    /// <summary>Learning rate of the next step, before the groups' factors.</summary>
    public double LearningRate { get; set; }

    /// <summary>Weight decay.</summary>
    public double WeightDecay { get; }

    /// <summary>Steps taken.</summary>
    public long Steps { get; private set; }

    /// <summary>Makes the optimizer that a manifest names.</summary>
    /// <param name="spec">Name, learning rate and weight decay.</param>
    /// <param name="groups">Parameters.</param>
    public static Optimizer Create(OptimizerSpec spec, params IEnumerable<ParameterGroup> groups)
    {
        ArgumentNullException.ThrowIfNull(spec);
        var rate = Parse(spec.LearningRate);
        var decay = Parse(spec.WeightDecay);
        return spec.Name switch
        {
            OptimizerName.AdamW => new Adam(groups, rate, decay, decoupled: true),
            OptimizerName.Sgd => new Sgd(groups, rate, decay),
            _ => new Adam(groups, rate, decay),
        };

        static double Parse(string text) => double.Parse(text, System.Globalization.CultureInfo.InvariantCulture);
    }

    /// <summary>Forgets the gradients.</summary>
    public void ZeroGradients()
    {
        foreach (var (_, parameter) in _groups.SelectMany(group => group.Parameters))
        {
            parameter.grad = null;
        }
    }

    /// <summary>One step with the present gradients and learning rate.</summary>
    public void Step()
    {
        using var frozen = no_grad();
        Steps++;
        foreach (var group in _groups)
        {
            using var scope = NewDisposeScope();
            var present = group.Parameters.Where(p => p.Parameter.grad is not null).ToArray();
            if (present.Length == 0)
            {
                continue;
            }

            Tensor[] parameters = [.. present.Select(p => p.Parameter)];
            Tensor[] gradients = [.. present.Select(p => p.Parameter.grad!.contiguous())];
            Tensor[][] moments = [.. _moments.Select(all => present.Select(p => all[p.Name]).ToArray())];
            var rate = LearningRate * group.RateScale;
            if (parameters.Concat(gradients).All(ParameterKernels.IsPlain))
            {
                StepInMemory(parameters, gradients, moments, rate);
            }
            else
            {
                // One long vector per quantity: a handful of device kernels instead of thousands.
                var flat = cat([.. parameters.Select(p => p.detach().flatten())]);
                var flatMoments = moments.Select(list => cat([.. list.Select(m => m.flatten())])).ToArray();
                var before = flat.clone();
                StepFlat(flat, cat([.. gradients.Select(g => g.flatten())]), flatMoments, rate);
                Scatter(flat - before, parameters, add: true);
                for (var i = 0; i < moments.Length; i++)
                {
                    Scatter(flatMoments[i], moments[i], add: false);
                }
            }
        }
    }

    /// <summary>The Euclidean norm of all gradients together; also a metric.</summary>
    /// <returns>A 64-bit scalar, left on the device.</returns>
    public Tensor GradientNorm()
    {
        using var scope = NewDisposeScope();
        using var frozen = no_grad();
        Tensor[] gradients = [.. _groups.SelectMany(group => group.Parameters).Select(p => p.Parameter.grad).OfType<Tensor>().Select(g => g.detach().contiguous())];
        Tensor norm = gradients.All(ParameterKernels.IsPlain)
            ? tensor(Math.Sqrt(ParameterKernels.SumOfSquares(gradients)))
            : stack([.. gradients.Select(g => g.to_type(ScalarType.Float32).norm())]).norm().to_type(ScalarType.Float64);
        return norm.MoveToOuterDisposeScope();
    }

    /// <summary>Scales all gradients so that their norm is at most a bound.</summary>
    /// <param name="maxNorm">The bound, above 0.</param>
    /// <returns>The norm before clipping, a 64-bit scalar on the device.</returns>
    public Tensor ClipGradients(double maxNorm)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(maxNorm);
        Tensor norm = GradientNorm();
        using var scope = NewDisposeScope();
        using var frozen = no_grad();
        Tensor scale = where(norm > maxNorm, maxNorm / (norm + 1e-6), ones_like(norm)).to_type(ScalarType.Float32);
        foreach (var (_, parameter) in _groups.SelectMany(group => group.Parameters))
        {
            parameter.grad?.mul_(scale);
        }

        return norm;
    }

    /// <summary>The state by name: <c>MOMENT/PARAMETER</c>. The tensors are the optimizer's own. <see cref="Steps"/> belongs to it.</summary>
    public IReadOnlyDictionary<string, Tensor> State()
        => _momentNames.Zip(_moments).SelectMany(pair => pair.Second.Select(entry => ($"{pair.First}/{entry.Key}", entry.Value))).ToDictionary(entry => entry.Item1, entry => entry.Value);

    /// <summary>Takes over a state.</summary>
    /// <param name="state">Tensors of <see cref="State"/> by name; others are ignored.</param>
    /// <param name="steps">Steps taken when it was saved.</param>
    /// <exception cref="ArgumentException">A tensor is missing or has another shape.</exception>
    public void Load(IReadOnlyDictionary<string, Tensor> state, long steps)
    {
        ArgumentNullException.ThrowIfNull(state);
        using var frozen = no_grad();
        foreach (var (name, target) in State())
        {
            if (!state.TryGetValue(name, out var value) || !value.shape.SequenceEqual(target.shape))
            {
                throw new ArgumentException($"The optimizer's state lacks '{name}' of shape [{string.Join(',', target.shape)}].", nameof(state));
            }

            target.copy_(value);
        }

        Steps = steps;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Frees the moments.</summary>
    /// <param name="disposing">True when called from <see cref="Dispose()"/>.</param>
    protected virtual void Dispose(bool disposing)
    {
        if (disposing)
        {
            foreach (var moment in _moments.SelectMany(all => all.Values))
            {
                moment.Dispose();
            }
        }
    }

    /// <summary>The rule on plain processor memory.</summary>
    private protected abstract void StepInMemory(Tensor[] parameters, Tensor[] gradients, Tensor[][] moments, double rate);

    /// <summary>The rule on one long vector per quantity; writes parameters and moments in place.</summary>
    private protected abstract void StepFlat(Tensor parameters, Tensor gradients, Tensor[] moments, double rate);

    private static void Scatter(Tensor flat, Tensor[] targets, bool add)
    {
        long start = 0;
        foreach (var target in targets)
        {
            var count = target.numel();
            var part = flat.narrow(0, start, count).view(target.shape);
            _ = add ? target.add_(part) : target.copy_(part);
            start += count;
        }
    }
}
