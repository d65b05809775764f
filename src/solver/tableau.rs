//! The methods, as data.

/// An explicit Runge–Kutta method (a Butcher tableau).
///
/// Stage i is kᵢ = f(t + cᵢ h, z + h Σⱼ aᵢⱼ kⱼ), j < i; the step is z + h Σᵢ bᵢ kᵢ.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Tableau {
    /// The method's name.
    pub name: &'static str,
    /// p: the error at the end of an interval falls as hᵖ.
    pub order: usize,
    /// Row i holds the i numbers aᵢⱼ (i counted from 0).
    pub a: &'static [&'static [f64]],
    /// The weights of the stages in the step.
    pub b: &'static [f64],
    /// b less the weights of an embedded method of order p − 1: h Σ b_errorᵢ kᵢ estimates the
    /// error.
    pub b_error: Option<&'static [f64]>,
    /// The times of the stages, in steps.
    pub c: &'static [f64],
    /// First same as last: the last stage is the slope at the new point, so the next step has its
    /// first stage for nothing.
    pub fsal: bool,
    /// For values inside a step: to the cubic Hermite interpolant is added θ²(1 − θ)² h Σ denseᵢ
    /// kᵢ, θ from 0 to 1, which takes its error from O(h⁴) to O(h⁵).
    pub dense: Option<&'static [f64]>,
}

/// Which method makes the steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Method {
    /// z + h f(t, z). Order 1, one call a step.
    Euler,
    /// Euler's step to the middle, whose slope makes the whole step. Order 2, two calls a step.
    Midpoint,
    /// The mean of the slopes at both ends (trapezoid), the second found by Euler's step. Order 2,
    /// two calls a step.
    #[default]
    Heun,
    /// The classical method of Kutta. Order 4, four calls a step.
    Rk4,
    /// Dormand and Prince 5(4), *A family of embedded Runge–Kutta formulae*, J. Comput. Appl. Math.
    /// 6 (1980) 19–26. Order 5, six calls a step and one at the start; adaptive where asked. Values
    /// inside a step as in Hairer, Nørsett and Wanner, *Solving Ordinary Differential Equations I*,
    /// II.6.
    DormandPrince,
    /// Tsitouras 5(4), *Runge–Kutta pairs of order 5(4) satisfying only the first column
    /// simplifying assumption*, Comput. Math. Appl. 62 (2011) 770–775. Calls as for
    /// [`DormandPrince`](Self::DormandPrince), with a smaller error.
    Tsitouras,
}

impl Method {
    /// Every method, lowest order first.
    pub const ALL: [Self; 6] =
        [Self::Euler, Self::Midpoint, Self::Heun, Self::Rk4, Self::DormandPrince, Self::Tsitouras];

    /// The numbers of the method.
    pub const fn tableau(self) -> &'static Tableau {
        match self {
            Self::Euler => &EULER,
            Self::Midpoint => &MIDPOINT,
            Self::Heun => &HEUN,
            Self::Rk4 => &RK4,
            Self::DormandPrince => &DORMAND_PRINCE,
            Self::Tsitouras => &TSITOURAS,
        }
    }
}

static EULER: Tableau = Tableau {
    name: "Euler",
    order: 1,
    a: &[&[]],
    b: &[1.0],
    b_error: None,
    c: &[0.0],
    fsal: false,
    dense: None,
};

static MIDPOINT: Tableau = Tableau {
    name: "midpoint",
    order: 2,
    a: &[&[], &[0.5]],
    b: &[0.0, 1.0],
    b_error: None,
    c: &[0.0, 0.5],
    fsal: false,
    dense: None,
};

static HEUN: Tableau = Tableau {
    name: "Heun",
    order: 2,
    a: &[&[], &[1.0]],
    b: &[0.5, 0.5],
    b_error: None,
    c: &[0.0, 1.0],
    fsal: false,
    dense: None,
};

static RK4: Tableau = Tableau {
    name: "RK4",
    order: 4,
    a: &[&[], &[0.5], &[0.0, 0.5], &[0.0, 0.0, 1.0]],
    b: &[1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0],
    b_error: None,
    c: &[0.0, 0.5, 0.5, 1.0],
    fsal: false,
    dense: None,
};

static DORMAND_PRINCE: Tableau = Tableau {
    name: "Dormand–Prince 5(4)",
    order: 5,
    a: &[
        &[],
        &[1.0 / 5.0],
        &[3.0 / 40.0, 9.0 / 40.0],
        &[44.0 / 45.0, -56.0 / 15.0, 32.0 / 9.0],
        &[19372.0 / 6561.0, -25360.0 / 2187.0, 64448.0 / 6561.0, -212.0 / 729.0],
        &[9017.0 / 3168.0, -355.0 / 33.0, 46732.0 / 5247.0, 49.0 / 176.0, -5103.0 / 18656.0],
        &[35.0 / 384.0, 0.0, 500.0 / 1113.0, 125.0 / 192.0, -2187.0 / 6784.0, 11.0 / 84.0],
    ],
    b: &[35.0 / 384.0, 0.0, 500.0 / 1113.0, 125.0 / 192.0, -2187.0 / 6784.0, 11.0 / 84.0, 0.0],
    b_error: Some(&[
        71.0 / 57600.0,
        0.0,
        -71.0 / 16695.0,
        71.0 / 1920.0,
        -17253.0 / 339200.0,
        22.0 / 525.0,
        -1.0 / 40.0,
    ]),
    c: &[0.0, 1.0 / 5.0, 3.0 / 10.0, 4.0 / 5.0, 8.0 / 9.0, 1.0, 1.0],
    fsal: true,
    dense: Some(&[
        -12715105075.0 / 11282082432.0,
        0.0,
        87487479700.0 / 32700410799.0,
        -10690763975.0 / 1880347072.0,
        701980252875.0 / 199316789632.0,
        -1453857185.0 / 822651844.0,
        69997945.0 / 29380423.0,
    ]),
};

static TSITOURAS: Tableau = Tableau {
    name: "Tsitouras 5(4)",
    order: 5,
    a: &[
        &[],
        &[0.161],
        &[-0.008480655492356989, 0.335480655492357],
        &[2.8971530571054935, -6.359448489975075, 4.3622954328695815],
        &[5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525],
        &[
            5.86145544294642,
            -12.92096931784711,
            8.159367898576159,
            -0.071584973281401,
            -0.028269050394068383,
        ],
        &[
            0.09646076681806523,
            0.01,
            0.4798896504144996,
            1.379008574103742,
            -3.290069515436081,
            2.324710524099774,
        ],
    ],
    b: &[
        0.09646076681806523,
        0.01,
        0.4798896504144996,
        1.379008574103742,
        -3.290069515436081,
        2.324710524099774,
        0.0,
    ],
    b_error: Some(&[
        -0.001780011052225777,
        -0.0008164344596567469,
        0.007880878010261995,
        -0.1447110071732629,
        0.5823571654525552,
        -0.45808210592918697,
        1.0 / 66.0,
    ]),
    c: &[0.0, 0.161, 0.327, 0.9, 0.9800255409045097, 1.0, 1.0],
    fsal: true,
    dense: Some(&[
        -1.0530884977290216,
        0.1017,
        2.490627285651253,
        -16.548102889244902,
        47.37952196281928,
        -34.87065786149661,
        2.5,
    ]),
};
