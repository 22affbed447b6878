// Why this exists: the recipes of the paper as starting points, each a short manifest that says only what differs from the defaults.
namespace CoCLR.Dashboard.Hosting;

/// <summary>A recipe.</summary>
/// <param name="Key">Name in the address.</param>
/// <param name="Name">Name.</param>
/// <param name="Description">What it is for.</param>
/// <param name="Yaml">The manifest.</param>
public sealed record Template(string Key, string Name, string Description, string Yaml);

/// <summary>Recipes.</summary>
public static class Templates
{
    private const string Head = "apiVersion: coclr.dev/v1alpha1\nkind: CoCLRExperiment\n";

    /// <summary>The recipes, smallest first.</summary>
    public static IReadOnlyList<Template> All { get; } =
    [
        new("minutes", "CoCLR in minutes", "Synthetic actions whose class is motion alone; two CPU cores are enough.", Head + """
            metadata:
              name: first-coclr
            spec:
              dataset:
                source:
                  synthetic: {classes: 8, trainGroups: 15, testGroups: 5, groupSize: 4, frames: 24, size: 56}
                storedSize: 56
              model: {backbone: S3DMini, width: "0.25", projectionSize: 64}
              clip: {frames: 16, size: 56}
              training: {method: CoCLR, epochs: 10, batchSize: 32, queueSize: 256, optimizer: {schedule: cosine}}
              cotrain: {cycles: 1, epochsPerTurn: 20, topK: 5}

            """),
        new("infonce", "InfoNCE, one view", "Instance discrimination on RGB: where every method begins (paper, Table 1, first rows).", Head + """
            metadata:
              name: infonce-rgb
            spec:
              dataset:
                source: {path: /data/ucf101}
              views: [RGB]
              training: {method: InfoNCE, epochs: 300}

            """),
        new("coclr", "CoCLR on UCF101", "The recipe of the paper: both views for 300 epochs, then two cycles in which they mine positives for each other.", Head + """
            metadata:
              name: ucf101-coclr
            spec:
              dataset:
                source: {path: /data/ucf101}
                layout: UCF101
              views: [RGB, Flow]
              training: {method: CoCLR, epochs: 300, queueSize: 2048}
              cotrain: {cycles: 2, epochsPerTurn: 100, topK: 5}
              evaluation:
                finetune: {enabled: true}

            """),
        new("ubernce", "UberNCE, the ceiling", "Positives from the labels: how far better positives could lead.", Head + """
            metadata:
              name: ucf101-ubernce
            spec:
              dataset:
                source: {path: /data/ucf101}
                layout: UCF101
              views: [RGB, Flow]
              training: {method: UberNCE, epochs: 300}

            """),
        new("reference", "As the published code", "Keeps the known behaviour of the reference code, for numbers side by side.", Head + """
            metadata:
              name: ucf101-reference
            spec:
              dataset:
                source: {path: /data/ucf101}
                layout: UCF101
              views: [RGB, Flow]
              training: {method: CoCLR, epochs: 300, compatibility: reference}
              evaluation:
                retrieval: {gallery: oneClip}
                linearProbe: {selection: test}

            """),
    ];
}
