// Why this exists: one optimizer interface with state by tensor name, fast on the processor and exact to resume.
using CoCLR.Core.Manifests;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace CoCLR.Engine.Training.Optimization;

/// <summary>Parameters that share a factor on the learning rate.</summary>
/// <param name="Parameters">Names (unique over all groups) and tensors, of one type and device.</param>
/// <param name="RateScale">Factor on the optimizer's learning rate; fine-tuning uses 0.1 for the backbone.</param>
public sealed record ParameterGroup(IReadOnlyList<(string Name, Parameter Parameter)> Parameters, double RateScale = 1)
{
    /// <summary>The flat tensor that they lie in already, in this order; otherwise the optimizer moves them into one.</summary>
    public FlatTensors? Flat { get; init; }

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
/// Moves parameters against their gradients. Weights, gradients and moments of a group are each one flat tensor: the optimizer gives
/// every parameter its gradient, which backward
/// passes add to. On the processor each step is one pass over memory, the same to the bit for any number of threads.
/// </summary>
public abstract class Optimizer : IDisposable
{
    private readonly Group[] _groups;
    private readonly string[] _momentNames;

    /// <summary>Sets up zero gradients and moments for all parameters.</summary>
    /// <param name="groups">Parameters; their names must be unique.</param>
    /// <param name="learningRate">Learning rate of a group with factor 1.</param>
    /// <param name="weightDecay">Weight decay.</param>
    /// <param name="momentNames">Names of the running moments that the rule keeps.</param>
    private protected Optimizer(IEnumerable<ParameterGroup> groups, double learningRate, double weightDecay, params string[] momentNames)
    {
        ParameterGroup[] all = [.. groups];
        var names = new HashSet<string>(StringComparer.Ordinal);
        foreach ((string name, _) in all.SelectMany(group => group.Parameters))
        {
            if (!names.Add(name))
            {
                throw new ArgumentException($"Two parameters are named '{name}'.", nameof(groups));
            }
        }

        LearningRate = learningRate;
        WeightDecay = weightDecay;
        _momentNames = momentNames;
        _groups = [.. all.Select(group => new Group(group, momentNames.Length))];
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

    /// <summary>The gradients of each group, flat: what ranks add up.</summary>
    internal IReadOnlyList<Tensor> Gradients => [.. _groups.Select(group => group.Gradients)];

    /// <summary>Forgets the gradients.</summary>
    public void ZeroGradients()
    {
        using var frozen = no_grad();
        foreach (Group group in _groups)
        {
            group.Gradients.zero_();
        }
    }

    /// <summary>One step with the present gradients and learning rate.</summary>
    /// <exception cref="InvalidOperationException">A parameter was given another gradient than the optimizer's.</exception>
    public void Step()
    {
        using var frozen = no_grad();
        Steps++;
        foreach (Group group in _groups.Where(group => group.Parameters.Count > 0))
        {
            using var scope = NewDisposeScope();
            group.RequireOwnTensors();
            double rate = LearningRate * group.RateScale;
            if (ParameterKernels.IsPlain(group.Values))
            {
                StepInMemory(group.Values, group.Gradients, group.Moments, rate);
            }
            else
            {
                StepByOperations(group.Values, group.Gradients, group.Moments, rate);
            }
        }
    }

    /// <summary>The Euclidean norm of all gradients together; also a metric.</summary>
    /// <returns>A 64-bit scalar, left on the device.</returns>
    public Tensor GradientNorm()
    {
        using var scope = NewDisposeScope();
        using var frozen = no_grad();
        Tensor norm = _groups.All(group => ParameterKernels.IsPlain(group.Gradients))
            ? tensor(Math.Sqrt(ParameterKernels.SumOfSquares([.. _groups.SelectMany(group => group.GradientViews)])))
            : stack([.. _groups.Select(group => group.Gradients.to_type(ScalarType.Float32).norm())]).norm().to_type(ScalarType.Float64);
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
        foreach (Group group in _groups)
        {
            group.Gradients.mul_(scale);
        }

        return norm;
    }

    /// <summary>
    /// The state by name: <c>MOMENT/PARAMETER</c>. The tensors are the optimizer's own. <see cref="Steps"/> belongs to it.
    /// </summary>
    public IReadOnlyDictionary<string, Tensor> State() => _momentNames
        .SelectMany((moment, m) => _groups.SelectMany(group => group.Parameters.Zip(group.MomentViews[m], (p, view) => (Name: $"{moment}/{p.Name}", View: view))))
        .ToDictionary(entry => entry.Name, entry => entry.View);

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

    /// <summary>Frees gradients and moments.</summary>
    /// <param name="disposing">True when called from <see cref="Dispose()"/>.</param>
    protected virtual void Dispose(bool disposing)
    {
        if (disposing)
        {
            Array.ForEach(_groups, group => group.Dispose());
        }
    }

    /// <summary>The rule on plain processor memory; writes parameters and moments in place.</summary>
    private protected abstract void StepInMemory(Tensor parameters, Tensor gradients, Tensor[] moments, double rate);

    /// <summary>The rule by tensor operations, for other devices and types; writes parameters and moments in place.</summary>
    private protected abstract void StepByOperations(Tensor parameters, Tensor gradients, Tensor[] moments, double rate);

    /// <summary>The flat tensors of a group, and its parameters' parts of them.</summary>
    private sealed class Group : IDisposable
    {
        private readonly FlatTensors _flat;
        private readonly bool _ownsFlat;
        private readonly nint[] _gradientAddresses;

        public Group(ParameterGroup group, int moments)
        {
            using var frozen = no_grad();
            (Parameters, RateScale) = (group.Parameters, group.RateScale);
            _ownsFlat = group.Flat is null;
            _flat = group.Flat ?? new FlatTensors([.. group.Parameters.Select(p => p.Parameter)]);
            Gradients = _flat.Zeros();
            GradientViews = _flat.ViewsOf(Gradients);
            Moments = [.. Enumerable.Range(0, moments).Select(_ => _flat.Zeros())];
            MomentViews = [.. Moments.Select(_flat.ViewsOf)];
            foreach (((_, Parameter parameter), Tensor gradient) in Parameters.Zip(GradientViews))
            {
                parameter.grad = gradient;
            }

            _gradientAddresses = [.. GradientViews.Select(TorchRuntime.AddressOf)];
        }

        public IReadOnlyList<(string Name, Parameter Parameter)> Parameters { get; }

        public double RateScale { get; }

        public Tensor Values => _flat.All;

        public Tensor Gradients { get; }

        public Tensor[] GradientViews { get; }

        public Tensor[] Moments { get; }

        public Tensor[][] MomentViews { get; }

        /// <summary>A gradient that was put in the place of ours, or a weight that was moved, would be ignored, silently.</summary>
        public void RequireOwnTensors()
        {
            _flat.RequireInPlace();
            for (int i = 0; i < _gradientAddresses.Length; i++)
            {
                using Tensor? gradient = Parameters[i].Parameter.grad;
                if (gradient is null || TorchRuntime.AddressOf(gradient) != _gradientAddresses[i])
                {
                    throw new InvalidOperationException($"The gradient of '{Parameters[i].Name}' was replaced; write into the one that the optimizer has given it.");
                }
            }
        }

        public void Dispose()
        {
            foreach (Tensor tensor in GradientViews.Concat(MomentViews.SelectMany(views => views)).Concat(Moments).Append(Gradients))
            {
                tensor.Dispose();
            }

            if (_ownsFlat)
            {
                _flat.Dispose();
            }
        }
    }
}
