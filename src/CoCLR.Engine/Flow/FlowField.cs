// Why this exists: from the field that an estimator gives to the field that is stored: its size, its unit, and the camera's motion taken
// off.
using TorchSharp;

namespace CoCLR.Engine.Flow;

/// <summary>Prepares fields of one size for quantisation.</summary>
/// <param name="options">Unit and centring.</param>
/// <param name="width">Width of the frames that flow is computed on.</param>
/// <param name="height">Their height.</param>
/// <param name="storedWidth">Width of the stored frames.</param>
/// <param name="storedHeight">Their height.</param>
internal sealed class FlowField(FlowOptions options, int width, int height, int storedWidth, int storedHeight)
{
    private readonly FieldResampler? _resampler =
        (width, height) == (storedWidth, storedHeight) ? null : new FieldResampler(width, height, storedWidth, storedHeight);
    private readonly float _unit = options.Unit(width, height);
    private readonly float[] _sorted = new float[options.Center ? storedWidth * storedHeight : 0];

    /// <summary>Whether this was made for these sizes.</summary>
    public bool Fits(int frameWidth, int frameHeight, int toWidth, int toHeight) =>
        (width, height, storedWidth, storedHeight) == (frameWidth, frameHeight, toWidth, toHeight);

    /// <summary>One component of one field.</summary>
    /// <param name="component">[height, width] in pixels of the frames that flow is computed on.</param>
    /// <param name="target">Receives [storedHeight, storedWidth] in the stored unit.</param>
    public void Store(ReadOnlySpan<float> component, Span<float> target)
    {
        if (_resampler is not null)
        {
            _resampler.Apply(component, _unit, target);
        }
        else
        {
            for (int i = 0; i < target.Length; i++)
            {
                target[i] = component[i] * _unit;
            }
        }

        if (options.Center)
        {
            target.CopyTo(_sorted);
            Array.Sort(_sorted);
            float median = _sorted[(_sorted.Length - 1) / 2];
            for (int i = 0; i < target.Length; i++)
            {
                target[i] -= median;
            }
        }
    }

    /// <summary>Many fields on a device.</summary>
    /// <param name="fields">[N, 2, height, width].</param>
    /// <returns>[N, 2, storedHeight, storedWidth].</returns>
    public torch.Tensor Store(torch.Tensor fields)
    {
        torch.Tensor stored = _resampler is null ? fields.mul(_unit) : _resampler.Apply(fields, _unit);
        if (!options.Center)
        {
            return stored;
        }

        (torch.Tensor sorted, _) = stored.flatten(2).sort(2);
        return stored.sub_(sorted.select(2, (sorted.shape[2] - 1) / 2).reshape(stored.shape[0], 2, 1, 1));
    }
}
