// Why this exists: features of any videos with a trained checkpoint: what `coclr embed` and `coclr search` do.
using System.Security.Cryptography;
using CoCLR.Core;
using CoCLR.Engine.Evaluation;
using CoCLR.Engine.Features;
using CoCLR.Engine.Flow;
using CoCLR.Engine.Models;
using CoCLR.Engine.Training;
using CoCLR.Engine.Video.Augmentation;
using CoCLR.Engine.Video.Catalogue;
using CoCLR.Engine.Video.Decoding;
using CoCLR.Engine.Video.Loading;
using CoCLR.Engine.Video.Store;
using TorchSharp;

namespace CoCLR.Engine.Stages;

/// <summary>An encoder with what it needs to look at any video.</summary>
public sealed class VideoEmbedder : IDisposable
{
    private const int ClipsPerBatch = 16;
    private readonly VideoEncoder _encoder;
    private readonly torch.Device _device;

    private VideoEmbedder(VideoEncoder encoder, InputDescription input, EmbeddingModel model, torch.Device device)
    {
        _encoder = encoder;
        Input = input;
        Model = model;
        _device = device;
    }

    /// <summary>What the encoder looks at.</summary>
    public InputDescription Input { get; }

    /// <summary>Whether <see cref="Input"/> was given by the caller, for the checkpoint does not say.</summary>
    public bool InputIsAssumed { get; private init; }

    /// <summary>How features are made, for a collection.</summary>
    public EmbeddingModel Model { get; }

    /// <summary>Loads an encoder.</summary>
    /// <param name="checkpoint">A checkpoint.safetensors or the folder of a training stage.</param>
    /// <param name="view">rgb or flow, for a checkpoint with both.</param>
    /// <param name="input">What it looks at, for a checkpoint that does not say.</param>
    /// <param name="device">auto, cpu, cuda or cuda:N.</param>
    /// <exception cref="UserErrorException">The checkpoint is missing (66), damaged (65), or does not say what it looks at
    /// (64).</exception>
    public static VideoEmbedder Load(string checkpoint, string view, InputDescription? input, string device)
    {
        torch.Device chosen = TorchRuntime.Select(device);
        using Checkpoint loaded = CheckpointStore.Load(checkpoint);
        InputDescription described = InputDescription.From(loaded.Info) ?? input ?? throw new UserErrorException(
            $"{checkpoint} does not say what it was trained on (an imported checkpoint): embed videos with --view, --frames and --size; a "
                + $"collection keeps them.", ExitCodes.Usage);
        string chosenView = described.View == "both" ? view : described.View;
        string prefix = described.View == "both" ? $"{view}.encoder." : "encoder.";
        VideoEncoder encoder = VideoEncoder.Create(loaded.Info.Architecture, loaded.Info.ProjectionSize, 0, chosen, loaded.Info.Width);
        loaded.CopyTo(encoder, prefix, checkpoint);
        string file = CheckpointStore.FileOf(checkpoint);
        using FileStream stream = File.OpenRead(file);
        return new VideoEmbedder(
            encoder,
            described with { View = chosenView },
            new EmbeddingModel
            {
                Architecture = loaded.Info.Architecture,
                View = chosenView,
                Checkpoint = Path.GetFullPath(file),
                CheckpointSha256 = Convert.ToHexStringLower(SHA256.HashData(stream)),
                Frames = described.Frames,
                FrameStride = described.Stride,
                Resolution = described.Size,
                StoredSize = described.StoredSize,
                FrameRate = described.FrameRate,
                FlowAlgorithm = described.FlowAlgorithm,
                FlowBound = described.FlowBound,
                FlowSize = described.FlowSize,
                FlowCenter = described.FlowCenter,
            },
            chosen)
        {
            InputIsAssumed = InputDescription.From(loaded.Info) is null,
        };
    }

    /// <summary>Features of the videos of a folder, one row each.</summary>
    /// <param name="catalogue">The videos.</param>
    /// <param name="cache">Folder of the stores.</param>
    /// <param name="progress">Told what is being done: phase, done, total.</param>
    /// <param name="stop">Stops.</param>
    /// <exception cref="UserErrorException">No video can be used (65).</exception>
    public (FeatureSet Features, IReadOnlyList<RejectedVideo> LeftOut) Embed(
        VideoCatalogue catalogue, string cache, Action<string, long, long> progress, CancellationToken stop)
    {
        ArgumentNullException.ThrowIfNull(catalogue);
        ArgumentNullException.ThrowIfNull(progress);
        var settings = new DecodeSettings
        {
            ShortSide = Input.StoredSize, FrameRate = Input.FrameRate, MaxBadFraction = catalogue.Videos.Count > 1 ? 0.999 : 0
        };
        using ClipStore frames = ClipDecoder.Prepare(
            catalogue, settings, cache, ImmediateProgress.To<DecodeProgress>(p => progress("decode", p.Done, p.Total)), stop);
        using ClipStore? flow = Input.View == "flow"
            ? FlowStoreBuilder.Prepare(
                frames,
                new FlowOptions
                {
                    Algorithm = Input.FlowAlgorithm, Bound = Input.FlowBound, Size = Input.FlowSize, Center = Input.FlowCenter
                },
                cache,
                _device,
                progress: ImmediateProgress.To<FlowProgress>(p => progress("flow", p.Pairs, p.Pairs + p.RemainingPairs)),
                cancellationToken: stop,
                files: catalogue.Videos.ToDictionary(v => v.Id, v => v.Path))
            : null;
        Backbone backbone = _encoder.Backbone;
        ClipStore store = flow ?? frames;
        using StoreClips clips = StoreClips.ForTesting(
            store,
            ClipItem.FromStores([store]),
            new AugmentationOptions { Size = Input.Size },
            new LoaderOptions { BatchSize = ClipsPerBatch, Frames = Input.Frames, FrameStride = Input.Stride, Device = _device });
        FeatureSet features =
            FeatureExtractor.Extract(backbone, clips, ImmediateProgress.To<PassProgress>(p => progress("extract", p.Done, p.Total)), stop);
        return (features, [.. frames.Header.Rejected, .. flow?.Header.Rejected ?? []]);
    }

    /// <inheritdoc/>
    public void Dispose() => _encoder.Dispose();
}
