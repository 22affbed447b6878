// Why this exists: everything that decides what a stored flow image looks like, in one value that can be hashed.
using System.Globalization;
using CoCLR.Core;
using CoCLR.Core.Manifests;

namespace CoCLR.Engine.Flow;

/// <summary>How flow is estimated and stored (method.md 1f).</summary>
public sealed record FlowOptions
{
    /// <summary>
    /// Lines of the frame in whose pixels displacements are stored, whatever size they were computed at: the published code's UCF101
    /// frames.
    /// </summary>
    public const int UnitLines = 240;

    /// <summary>Largest displacement of the published code, in pixels of its 240-line frames.</summary>
    public const double PublishedBound = 20;

    /// <summary>The algorithm.</summary>
    public FlowAlgorithm Algorithm { get; init; } = FlowAlgorithm.TvL1;

    /// <summary>
    /// Largest displacement that is stored, in pixels of a <see cref="UnitLines"/>-line frame; null: measured on a sample
    /// (<see cref="FlowSurvey"/>).
    /// </summary>
    public double? Bound { get; init; }

    /// <summary>
    /// Short side at most of the frames that flow is computed on; 0: the stored frames, with displacements in their pixels.
    /// </summary>
    public int Size { get; init; } = UnitLines;

    /// <summary>Subtract the median displacement of each frame.</summary>
    public bool Center { get; init; }

    /// <summary>Parameters of TV-L1, used when <see cref="Algorithm"/> is <see cref="FlowAlgorithm.TvL1"/>.</summary>
    public TvL1Options TvL1 { get; init; } = new();

    /// <summary>The parameters that the algorithm runs with.</summary>
    public TvL1Options Effective => Algorithm == FlowAlgorithm.Fast ? TvL1Options.Fast : TvL1;

    /// <summary>The options that a manifest asks for.</summary>
    /// <param name="spec">The manifest's <c>flow</c>.</param>
    /// <param name="reference">With <c>compatibility: reference</c>, <c>auto</c> is the published bound.</param>
    public static FlowOptions From(FlowSpec spec, bool reference = false) => new()
    {
        Algorithm = spec.Algorithm,
        Bound = spec.Bound != "auto" ? double.Parse(spec.Bound, CultureInfo.InvariantCulture) : reference ? PublishedBound : null,
        Size = spec.Size,
        Center = spec.Center,
    };

    /// <summary>Factor from pixels of a frame of this size to the stored unit.</summary>
    /// <param name="width">Width of the frames that flow is computed on.</param>
    /// <param name="height">Their height.</param>
    public float Unit(int width, int height) => Size == 0 ? 1 : (float)UnitLines / Math.Min(width, height);

    /// <summary>Checks every value.</summary>
    /// <exception cref="UserErrorException">A value is outside its range (exit code 78).</exception>
    public void Validate()
    {
        if (Bound is not null and not (>= 0.1 and <= 999))
        {
            throw new UserErrorException(
                string.Create(CultureInfo.InvariantCulture, $"flow.bound is {Bound} but must be auto or 0.1 to 999 pixels."),
                ExitCodes.BadConfiguration);
        }

        if (Size is not 0 and not (>= 16 and <= 4096))
        {
            throw new UserErrorException($"flow.size is {Size} but must be 16 to 4096 pixels.", ExitCodes.BadConfiguration);
        }

        Effective.Validate();
    }

    /// <summary>An estimator for frames of one size, for one thread.</summary>
    /// <param name="width">Frame width in pixels.</param>
    /// <param name="height">Frame height in pixels.</param>
    public IFlowEstimator CreateEstimator(int width, int height) => new TvL1Flow(width, height, Effective);
}
