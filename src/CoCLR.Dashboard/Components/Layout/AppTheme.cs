// Why this exists: one palette for both themes, chosen so that text has at least 4.5:1 on its ground.
using MudBlazor;

namespace CoCLR.Dashboard.Components.Layout;

/// <summary>Colours, type and radii.</summary>
public static class AppTheme
{
    private static readonly string[] Sans = ["Inter", "system-ui", "sans-serif"];

    /// <summary>The theme.</summary>
    public static MudTheme Instance { get; } = new()
    {
        PaletteLight = new PaletteLight
        {
            Primary = "#3152c8", PrimaryContrastText = "#ffffff", Secondary = "#b5470f", Tertiary = "#0f766e",
            Background = "#f6f7f9", BackgroundGray = "#eef0f4", Surface = "#ffffff", AppbarBackground = "#ffffff", AppbarText = "#1a2230",
            DrawerBackground = "#ffffff",
            TextPrimary = "#1a2230", TextSecondary = "#535e6d", TextDisabled = "#6b7685", ActionDefault = "#535e6d",
            ActionDisabled = "#6b7685",
            LinesDefault = "#e2e6ec", LinesInputs = "#8a95a5", TableLines = "#e9ecf1", Divider = "#e2e6ec", TableHover = "#f2f4f8",
            Success = "#17714a", Error = "#b3261e", Warning = "#8a5300", Info = "#3152c8",
        },
        PaletteDark = new PaletteDark
        {
            Primary = "#93b1ff", PrimaryContrastText = "#0c1220", Secondary = "#f2a065", Tertiary = "#5ec6bb",
            Background = "#0e131a", BackgroundGray = "#131a23", Surface = "#151c26", AppbarBackground = "#151c26", AppbarText = "#e5eaf1",
            DrawerBackground = "#151c26",
            TextPrimary = "#e5eaf1", TextSecondary = "#a3aebd", TextDisabled = "#8793a4", ActionDefault = "#a3aebd",
            ActionDisabled = "#8793a4",
            LinesDefault = "#28323f", LinesInputs = "#6d7a8c", TableLines = "#222b37", Divider = "#28323f", TableHover = "#1a232f",
            Success = "#5fcf9a", Error = "#ff9088", Warning = "#f0b75a", Info = "#93b1ff",
        },
        LayoutProperties = new LayoutProperties { DefaultBorderRadius = "6px" },
        Typography = new Typography
        {
            Default = new DefaultTypography { FontFamily = Sans, FontSize = "0.875rem", LineHeight = "1.45", LetterSpacing = "0" },
            Button = new ButtonTypography
            {
                FontFamily = Sans, FontSize = "0.8125rem", FontWeight = "550", TextTransform = "none",
                LetterSpacing = "0"
            },
            Body1 = new Body1Typography { FontFamily = Sans, FontSize = "0.875rem", LetterSpacing = "0" },
            Body2 = new Body2Typography { FontFamily = Sans, FontSize = "0.8125rem", LetterSpacing = "0" },
            H6 = new H6Typography { FontFamily = Sans, FontSize = "1rem", FontWeight = "600", LetterSpacing = "-0.01em" },
            Caption = new CaptionTypography { FontFamily = Sans, FontSize = "0.75rem", LetterSpacing = "0" },
            Subtitle1 = new Subtitle1Typography { FontFamily = Sans, FontSize = "0.875rem", FontWeight = "550" },
        },
    };
}
