// Why this exists: all methods compare the same embeddings; a method is what it calls positive and what it makes of the logits.
using System.Collections.Frozen;
using CoCLR.Core.Manifests;
using static TorchSharp.torch;

namespace CoCLR.Engine.Contrastive.Methods;

/// <summary>One view's part of a comparison.</summary>
/// <param name="Query">Unit vectors q [B,dim] with a graph; null for a view that does not learn.</param>
/// <param name="Keys">Unit vectors k [B,dim] of the other clip of each video.</param>
/// <param name="Queue">Earlier keys [dim,K].</param>
public sealed record ViewEmbeddings(Tensor? Query, Tensor Keys, Tensor Queue);

/// <summary>
/// What the networks made of one batch, and what it is compared with. All tensors are on one device and stay the caller's.
/// </summary>
public sealed record Comparison
{
    /// <summary>The view that learns; RGB where both do.</summary>
    public required ViewEmbeddings First { get; init; }

    /// <summary>The other view, where the stage sees it: learning too, or frozen.</summary>
    public ViewEmbeddings? Second { get; init; }

    /// <summary>
    /// Similarity by which the frozen other view ranks the queue for each clip, [B,K]; null where nothing is mined with a frozen encoder.
    /// </summary>
    public Tensor? MinerSimilarity { get; init; }

    /// <summary>
    /// Queue entries of the clips' neighbouring videos, boolean [B,K], found by the frozen other view once a turn; null where clips are
    /// mined in the queue.
    /// </summary>
    public Tensor? Neighbours { get; init; }

    /// <summary>Whose keys the queue holds: source videos, labels, age.</summary>
    public required KeyQueue Queue { get; init; }

    /// <summary>Source videos int64 [B].</summary>
    public required Tensor Groups { get; init; }

    /// <summary>Labels int64 [B]; -1 is unknown.</summary>
    public required Tensor Labels { get; init; }

    /// <summary>
    /// Where a clip meets its own key in the queue, boolean [B,K]: such entries do not count; null where the queue does not hold the batch
    /// yet.
    /// </summary>
    public Tensor? Own { get; init; }

    /// <summary>τ.</summary>
    public required double Temperature { get; init; }

    /// <summary>Positives to mine for each clip.</summary>
    public int TopK { get; init; }

    /// <summary>Whether a clip's own key is left out of its positives in this step, where it has others.</summary>
    public bool MasksSelf { get; init; }

    /// <summary>The step, for the age of what is mined.</summary>
    public long Step { get; init; }

    /// <summary>[ q·k , q·queue ] / τ of one view's queries with the keys of the same or the other view, [B,1+K].</summary>
    /// <param name="queries">The view whose queries they are; it learns.</param>
    /// <param name="keys">The view whose keys they meet.</param>
    public Tensor Logits(ViewEmbeddings queries, ViewEmbeddings keys)
    {
        ArgumentNullException.ThrowIfNull(queries);
        ArgumentNullException.ThrowIfNull(keys);
        Tensor query = queries.Query ?? throw new ArgumentException("This view does not learn: it has no queries.", nameof(queries));
        return ContrastiveLogits.Of(query, keys.Keys, keys.Queue, Temperature, Own);
    }
}

/// <summary>What a method made of a comparison.</summary>
/// <param name="Loss">Scalar with a graph.</param>
/// <param name="Logits">[B,1+K] of the first view, for its accuracy.</param>
/// <param name="Positives">Boolean [B,1+K]: which of the logits are positives, before the own key is masked.</param>
/// <param name="Mined">What was mined for the first view, if anything.</param>
public sealed record MethodStep(Tensor Loss, Tensor Logits, Tensor Positives, MinedEntries? Mined = null);

/// <summary>
/// A learning method. A new one is one class below this: it is found by its <see cref="Name"/>, and CONTRIBUTING.md shows it step by step.
/// </summary>
public abstract class ContrastiveMethod
{
    private static readonly FrozenDictionary<Method, ContrastiveMethod> s_all = typeof(ContrastiveMethod).Assembly.GetTypes()
        .Where(t => t.IsSubclassOf(typeof(ContrastiveMethod)) && !t.IsAbstract)
        .Select(t => (ContrastiveMethod)Activator.CreateInstance(t)!)
        .ToFrozenDictionary(m => m.Name);

    /// <summary>Its name in a manifest; what else the platform knows of it are that name's <see cref="MethodTraits"/>.</summary>
    public abstract Method Name { get; }

    /// <summary>In the published code, no step trains before the queue is full (`training.compatibility: reference`).</summary>
    public virtual bool WaitsForFullQueue => false;

    /// <summary>The method of a name.</summary>
    /// <param name="name">A method of <see cref="Method"/>.</param>
    public static ContrastiveMethod Of(Method name) => s_all[name];

    /// <summary>From embeddings to the loss; changes nothing.</summary>
    /// <param name="batch">What the networks made of the batch.</param>
    public abstract MethodStep Learn(Comparison batch);
}
