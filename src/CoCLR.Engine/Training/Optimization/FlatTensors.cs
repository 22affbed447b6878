// Why this exists: a network is hundreds of small tensors; laid end to end they are updated by one kernel and sent as one message.
using static TorchSharp.torch;

namespace CoCLR.Engine.Training.Optimization;

/// <summary>
/// Tensors of one type and device, moved into one flat tensor of which they are views from then on. Each begins at a multiple of <see
/// cref="Alignment"/> elements, as if it had been
/// allocated by itself, so that kernels compute the same bits; what lies between is 0.
/// </summary>
public sealed class FlatTensors : IDisposable
{
    /// <summary>In elements: 256 bytes of 32-bit numbers, what allocators and cuDNN's kernels align to.</summary>
    private const long Alignment = 64;

    private readonly IReadOnlyList<Tensor> _tensors;
    private readonly long[][] _shapes;
    private readonly long[] _starts;

    /// <summary>Moves tensors together. Their values stay; whoever holds one sees the same tensor at its new place.</summary>
    /// <param name="tensors">Parameters or buffers; of one type and device.</param>
    /// <exception cref="ArgumentException">Types or devices differ.</exception>
    public FlatTensors(params IReadOnlyList<Tensor> tensors)
    {
        ArgumentNullException.ThrowIfNull(tensors);
        _tensors = tensors;
        _shapes = [.. tensors.Select(t => t.shape)];
        _starts = new long[tensors.Count + 1];
        for (int i = 0; i < tensors.Count; i++)
        {
            _starts[i + 1] = _starts[i] + ((tensors[i].numel() + Alignment - 1) / Alignment * Alignment);
        }

        ScalarType type = tensors.Count > 0 ? tensors[0].dtype : ScalarType.Float32;
        Device device = tensors.Count > 0 ? tensors[0].device : CPU;
        if (tensors.Any(t => t.dtype != type || t.device.type != device.type || t.device.index != device.index))
        {
            throw new ArgumentException("Tensors of one type and device can lie in one; these differ.", nameof(tensors));
        }

        using var frozen = no_grad();
        using var scope = NewDisposeScope();
        All = zeros(_starts[^1], type, device).DetachFromDisposeScope();
        foreach ((Tensor tensor, Tensor view) in tensors.Zip(ViewsOf(All)))
        {
            view.copy_(tensor);
            tensor.set_(view);
        }
    }

    /// <summary>All of them, [n].</summary>
    public Tensor All { get; }

    /// <summary>A flat tensor of zeros, laid out alike: for gradients or moments.</summary>
    public Tensor Zeros() => zeros_like(All).DetachFromDisposeScope();

    /// <summary>The parts of a flat tensor that is laid out alike, each in its shape.</summary>
    /// <param name="flat">[n].</param>
    public Tensor[] ViewsOf(Tensor flat)
    {
        ArgumentNullException.ThrowIfNull(flat);
        return
        [
            .. _shapes.Select((shape, i) =>
                flat.narrow(0, _starts[i], shape.Aggregate(1L, (a, b) => a * b)).view(shape).DetachFromDisposeScope()),
        ];
    }

    /// <summary>
    /// Who works on <see cref="All"/> must be sure that the tensors still lie there: moved elsewhere, they would not notice.
    /// </summary>
    /// <exception cref="InvalidOperationException">They were moved into another.</exception>
    internal void RequireInPlace()
    {
        if (_tensors.Count > 0 && TorchRuntime.AddressOf(_tensors[0]) != TorchRuntime.AddressOf(All))
        {
            throw new InvalidOperationException(
                "These tensors were moved into another flat tensor since: give ParameterGroup.Flat to the optimizer of parameters that lie in one.");
        }
    }

    /// <summary>Whether two are laid out alike.</summary>
    internal bool IsLaidOutLike(FlatTensors other) =>
        _shapes.Length == other._shapes.Length && _shapes.Zip(other._shapes).All(s => s.First.SequenceEqual(s.Second));

    /// <inheritdoc/>
    public void Dispose() => All.Dispose();
}
