// Why this exists: everything that decides what a stored flow image looks like, in one value that can be hashed.
using CoCLR.Core;
using CoCLR.Core.Manifests;

namespace CoCLR.Engine.Flow;

/// <summary>How flow is estimated and stored (method.md 1f).</summary>
public sealed record FlowOptions
{
    /// <summary>The algorithm.</summary>
    public FlowAlgorithm Algorithm { get; init; } = FlowAlgorithm.TvL1;

    /// <summary>Largest displacement that is stored, in pixels; larger ones are clipped.</summary>
    public int Bound { get; init; } = 20;

    /// <summary>Parameters of TV-L1, used when <see cref="Algorithm"/> is <see cref="FlowAlgorithm.TvL1"/>.</summary>
    public TvL1Options TvL1 { get; init; } = new();

    /// <summary>The parameters that the algorithm runs with.</summary>
    public TvL1Options Effective => Algorithm == FlowAlgorithm.Fast ? TvL1Options.Fast : TvL1;

    /// <summary>The options that a manifest asks for.</summary>
    /// <param name="spec">The manifest's <c>flow</c>.</param>
    public static FlowOptions From(FlowSpec spec) => new() { Algorithm = spec.Algorithm, Bound = spec.Bound };

    /// <summary>Checks every value.</summary>
    /// <exception cref="UserErrorException">A value is outside its range (exit code 78).</exception>
    public void Validate()
    {
        if (Bound is < 1 or > 127)
        {
            throw new UserErrorException($"flow.bound is {Bound} but must be 1 to 127 pixels.", ExitCodes.BadConfiguration);
        }

        Effective.Validate();
    }

    /// <summary>An estimator for frames of one size, for one thread.</summary>
    /// <param name="width">Frame width in pixels.</param>
    /// <param name="height">Frame height in pixels.</param>
    public IFlowEstimator CreateEstimator(int width, int height) => new TvL1Flow(width, height, Effective);
}
